/* flexnfv-manager: the DPDK primary process. README.md describes options and configuration. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_launch.h>
#include <rte_ring.h>

#include "dpdk_internals/files.h"
#include "dpdk_internals/locks.h"
#include "manager/commands.h"
#include "manager/decisions.h"
#include "manager/eal.h"
#include "manager/events.h"
#include "manager/instances.h"
#include "manager/law.h"
#include "manager/memory.h"
#include "manager/options.h"
#include "manager/ports.h"
#include "manager/processes.h"
#include "manager/recovery.h"
#include "manager/status.h"
#include "manager/worker.h"

enum {
    DRAIN_MS = 500, /* for packets on their way when the manager ends */
    AGE_NS = 1000000000,
};

static struct fx_manager *const mgr = &fx_manager;

/* --- what happens on events ------------------------------------------------------------------ */

static void consume(int fd)
{
    uint64_t buffer;
    ssize_t got = read(fd, &buffer, sizeof(buffer));
    (void)got; /* the descriptor only says that something has happened */
}

static void on_nf(uint32_t argument)
{
    (void)argument;
    consume(mgr->event_fd);
    fx_instances_look();
}

static void on_status(uint32_t timer)
{
    static uint64_t aged_ns;
    uint64_t now = fx_now_ns();
    consume((int)timer);
    fx_locks_tick(fx_process_starts(), now);
    fx_recovery_tick(now);
    fx_processes_refill();
    fx_status_publish(now);
    if (mgr->flows && now - aged_ns >= AGE_NS) {
        fx_flows_age(mgr->flows);
        aged_ns = now;
    }
}

static void on_interval(uint32_t timer)
{
    consume((int)timer);
    fx_law_interval(fx_now_ns());
}

static const fx_handler handlers[FX_EVENTS] = {
    [FX_EVENT_NF] = on_nf,
    [FX_EVENT_STATUS] = on_status,
    [FX_EVENT_INTERVAL] = on_interval,
    [FX_EVENT_SOCKET] = fx_commands_accept,
    [FX_EVENT_CLIENT] = fx_commands_serve,
    [FX_EVENT_PROCESS] = fx_recovery_process_ended,
};

/* --- start ----------------------------------------------------------------------------------- */

/* The workers that the configuration asks for: all folded onto one, or RX and TX threads apart. */
static void plan_workers(void)
{
    bool folded = mgr->config.tx_threads == 0;
    mgr->rx_workers = mgr->config.rx_threads;
    mgr->tx_workers = folded ? mgr->rx_workers : mgr->config.tx_threads;
    mgr->workers = folded ? mgr->rx_workers : mgr->rx_workers + mgr->tx_workers;
}

/* What packets may fill, and where they go next, looked up once instead of for every packet. */
static void plan_hops(void)
{
    mgr->hold_window = UINT32_MAX;
    for (uint32_t t = 0; t < mgr->config.types; t++)
        mgr->hold_window = RTE_MIN(mgr->hold_window, mgr->config.type[t].ring_size / 2);
    memset(mgr->next_type, -1, sizeof(mgr->next_type));
    for (uint32_t c = 0; c < mgr->config.chains; c++) {
        const struct fx_chain_config *chain = &mgr->config.chain[c];
        for (uint32_t hop = 1; hop < chain->length; hop++)
            mgr->next_type[c][chain->type[hop - 1]] = (int8_t)chain->type[hop];
    }
}

static int start_workers(struct fx_error *error)
{
    bool folded = mgr->config.tx_threads == 0;
    for (uint32_t i = 0; i < mgr->workers; i++) {
        struct fx_worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) / 64 * 64);
        if (!worker)
            return fx_fail(error, "no memory for a worker");
        memset(worker, 0, sizeof(*worker));
        worker->index = i;
        worker->lcore = i + 1;
        worker->receives = i < mgr->rx_workers;
        worker->transmits = folded || i >= mgr->rx_workers;
        worker->rx_queue = i;
        worker->tx_share = folded ? i : i - mgr->rx_workers;
        mgr->worker[i] = worker;
    }
    for (uint32_t i = 0; i < mgr->workers; i++)
        if (rte_eal_remote_launch(fx_worker_main, mgr->worker[i], i + 1) != 0)
            return fx_fail(error, "worker %u does not start", i);
    return 0;
}

static void be_ordinary(void)
{
    struct sched_param normal = {0};
    sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &normal);
}

/*
 * Gives the control thread priority over all others. It sleeps most of its time, so this costs them
 * little, and a command then waits neither for a worker that polls on the same CPU nor for the
 * controller that sent it, which may itself have real-time priority and computes on. Processes that
 * this thread starts have ordinary priority.
 */
static void go_first(void)
{
    struct sched_param first = {.sched_priority = 2};
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &first) == 0)
        return;
    be_ordinary();
    if (setpriority(PRIO_PROCESS, 0, -20) != 0)
        fx_log("no higher priority for the control thread: commands may take longer");
    else
        fx_log("no real time for the control thread: commands may take longer");
}

static int start_control(struct fx_error *error)
{
    go_first();
    if (fx_watch_signals() != 0 || fx_watch_time(mgr->config.status_ns, FX_EVENT_STATUS) != 0 ||
        fx_watch_time(mgr->config.interval_ns, FX_EVENT_INTERVAL) != 0 ||
        fx_watch(mgr->event_fd, FX_EVENT_NF, 0) != 0 ||
        (fx_options.tethered && fx_watch(STDIN_FILENO, FX_EVENT_END, 0) != 0))
        return fx_fail(error, "no events: %s", strerror(errno));
    return 0;
}

/* Waits until the initial instances poll. */
static int await_first_instances(struct fx_error *error)
{
    for (;;) {
        uint32_t waiting = 0;
        for (uint32_t t = 0; t < mgr->config.types; t++) {
            if (mgr->type[t].failed_launches > 0)
                return fx_fail(error, "%.31s cannot be launched: %.140s", mgr->config.type[t].name,
                               mgr->type[t].last_failure);
            waiting += fx_count_instances(t, FX_LAUNCHING);
        }
        if (waiting == 0 || fx_shutting_down())
            return 0;
        fx_events_handle(100);
    }
}

static int configure(int argc, char **argv, struct fx_error *error)
{
    if (fx_options_parse(argc, argv, error) != 0 ||
        fx_config_read(fx_options.config_path, &mgr->config, error) != 0)
        return -1;
    plan_workers();
    plan_hops();
    if (access(fx_options.dir, W_OK | X_OK) != 0)
        return fx_fail(error, "--dir %.100s: %s", fx_options.dir, strerror(errno));
    return fx_processes_check_functions(error);
}

static int start(bool *eal, struct fx_error *error)
{
    mgr->started_ns = fx_now_ns();
    mgr->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fx_events_init(handlers, error) != 0 || fx_eal_init(error) != 0)
        return -1;
    *eal = true;
    if (fx_memory_init(error) != 0 || fx_locks_init(error) != 0 || fx_ports_init(error) != 0)
        return -1;
    fx_instances_init();
    fx_decisions_init();
    fx_set_entry(mgr->config.entry);
    atomic_store(&mgr->closed, true);
    if (start_workers(error) != 0 || fx_processes_init(error) != 0 || start_control(error) != 0 ||
        fx_status_init(error) != 0 || fx_launch_initial(error) != 0 ||
        await_first_instances(error) != 0)
        return -1;
    atomic_store(&mgr->closed, false);
    fx_status_publish(fx_now_ns());
    /* The socket comes last, so that whoever can connect finds a chain that runs. */
    return fx_commands_init(error);
}

/* --- the end --------------------------------------------------------------------------------- */

static uint64_t packets_in_chains(void)
{
    uint64_t packets = 0;
    for (uint32_t index = 0; index < mgr->instances; index++) {
        struct fx_instance *instance = &mgr->shared->instance[index];
        packets += rte_ring_count(instance->receive) + rte_ring_count(instance->transmit) +
                   atomic_load(&instance->burst_count);
    }
    return packets;
}

/* The workers have ended, so whatever is left in a ring is nobody else's. */
static void free_rest(void)
{
    struct rte_mbuf *packet = NULL;
    for (uint32_t index = 0; index < mgr->instances; index++) {
        struct fx_instance *instance = &mgr->shared->instance[index];
        struct rte_ring *rings[] = {instance->receive, instance->transmit};
        for (int r = 0; r < 2; r++)
            while (rte_ring_dequeue(rings[r], (void **)&packet) == 0) {
                rte_pktmbuf_free(packet);
                fx_count(&mgr->worker[0]->shutdown_dropped, 1);
            }
    }
}

static void stop_all(void)
{
    atomic_store(&mgr->closed, true);
    for (int waited = 0; mgr->shared && packets_in_chains() > 0 && waited < DRAIN_MS; waited++)
        usleep(1000);
    fx_processes_end();
    fx_locks_end(); /* closing the ports takes some of them */
    fx_recovery_free_in_flight();
    usleep(2000);  /* in which workers send the last bursts */
    be_ordinary(); /* DPDK waits for the workers without sleeping */
    atomic_store(&mgr->quit, true);
    for (uint32_t i = 0; i < mgr->workers; i++)
        if (mgr->shared)
            fx_wake(&mgr->shared->worker[i].sleeping);
    rte_eal_mp_wait_lcore();
    if (mgr->worker[0])
        free_rest();
}

static void end(bool eal)
{
    if (eal) {
        stop_all();
        fx_status_publish(fx_now_ns()); /* whoever has the page mapped sees how it ended */
        if (mgr->shared)
            fx_ports_end();
        fx_status_end();
        /* rte_eal_cleanup() is not called: it unmaps what the interrupt thread of a driver may
         * still use, and waits for ever if a process died with one of DPDK's locks. */
        fx_files_remove_all(fx_options.prefix);
    }
    fx_commands_end();
}

int main(int argc, char **argv)
{
    struct fx_error error = {0};
    bool eal = false;
    fx_block_signals();             /* the loop reads them from a descriptor */
    prctl(PR_SET_TIMERSLACK, 1000); /* ns; the workers inherit it */
    int result = configure(argc, argv, &error);
    if (result == 0)
        result = start(&eal, &error);
    if (result == 0 && !fx_shutting_down())
        fx_log("running: %u types, %u chains, %u ports", mgr->config.types, mgr->config.chains,
               mgr->config.ports);
    while (result == 0 && !fx_shutting_down())
        fx_events_handle(-1);
    if (result != 0)
        fprintf(stderr, "flexnfv-manager: %s\n", error.text);
    end(eal);
    fflush(NULL);
    _exit(result == 0 ? 0 : 2);
}
