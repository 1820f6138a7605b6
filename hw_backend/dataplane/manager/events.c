#include "manager/events.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { AT_ONCE = 32 }; /* events fetched by one call */

static int epoll_fd = -1;
static bool shutting_down;
static const fx_handler *handler_of;

int fx_events_init(const fx_handler *handlers, struct fx_error *error)
{
    handler_of = handlers;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return epoll_fd < 0 ? fx_fail(error, "no events: %s", strerror(errno)) : 0;
}

int fx_watch(int fd, enum fx_event event, uint32_t argument)
{
    struct epoll_event watch = {.events = EPOLLIN,
                                .data.u64 = (uint64_t)argument << 32 | (uint64_t)event};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &watch);
}

void fx_unwatch(int fd)
{
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int fx_watch_time(uint64_t period_ns, enum fx_event event)
{
    struct timespec period = {(time_t)(period_ns / 1000000000), (long)(period_ns % 1000000000)};
    struct itimerspec every = {period, period};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) != 0)
        return -1;
    return fx_watch(fd, event, (uint32_t)fd);
}

static sigset_t ending_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

void fx_block_signals(void)
{
    sigset_t set = ending_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int fx_watch_signals(void)
{
    sigset_t set = ending_signals();
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -1 : fx_watch(fd, FX_EVENT_END, 0);
}

static void handle(uint64_t data)
{
    enum fx_event event = (enum fx_event)(data & 0xffffffff);
    if (event == FX_EVENT_END)
        fx_shut_down();
    else
        handler_of[event]((uint32_t)(data >> 32));
}

void fx_events_handle(int timeout_ms)
{
    struct epoll_event event[AT_ONCE];
    int count = epoll_wait(epoll_fd, event, AT_ONCE, timeout_ms);
    for (int i = 0; i < count && !shutting_down; i++)
        handle(event[i].data.u64);
}

void fx_shut_down(void)
{
    shutting_down = true;
}

bool fx_shutting_down(void)
{
    return shutting_down;
}
