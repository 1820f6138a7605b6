#include "run.h"

#include "clock.h"
#include "report.h"
#include "sizes.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define BURSTS_A_TURN    64  /* received between two looks at the schedule */
#define UNLIMITED_A_TURN 256 /* packets sent between two looks at the receiver */
#define CATCH_UP_NS                                                                                \
    2000000ull /* a stall up to this is made up for at once, a longer one bit by bit */
#define STUCK_NS          SECOND_NS /* a port that took nothing for so long will not take the rest */
#define DRAIN_MAX_NS      (5 * SECOND_NS)
#define COMMANDS_EVERY_NS 2000000ull
#define PAUSED_MS         1
#define LINK_POLL_NS      5000000ull
#define YIELDS            20
#define NICENESS          -10
#define TIMER_SLACK_NS    1000ul

static volatile sig_atomic_t signalled;

struct run {
    struct generator *generator;
    struct schedule *schedule;
    bool records;
    bool stopped;
    uint64_t start_ns;
    uint64_t before_ns; /* time of the turn before, since the start as all below */
    uint64_t taken_ns;  /* when the port last took a packet */
    uint64_t wanted;
    uint64_t missed;
    uint64_t mark_ns; /* `due_new` packets were due then, `due_old` one backlog earlier */
    uint64_t due_new;
    uint64_t due_old;
    uint64_t commands_ns;
    uint64_t period_start_ns;
    uint64_t period_end_ns;
    uint32_t idle_turns;
    double worst_rate_error;
    struct counts period_counts; /* at the start of the period */
};

static void on_signal(int number)
{
    (void)number;
    signalled = 1;
}

void run_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Where the kernel groups processes by session, a niceness counts within the session alone. */
static void set_session_niceness(void)
{
    FILE *group = getsid(0) == getpid() ? fopen("/proc/self/autogroup", "w") : NULL;
    if (!group)
        return;
    fprintf(group, "%d", NICENESS);
    fclose(group);
}

void run_be_punctual(const struct options *options)
{
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    /* The generator wakes for moments only, so its priority costs others little, and a packet that
     * is sent late is an error of the measurement. Without the right to a higher priority it runs
     * like everybody else. */
    if (options->poll || options->pace == PACE_UNLIMITED)
        return;
    setpriority(PRIO_PROCESS, 0, NICENESS);
    set_session_niceness();
}

static struct counts counts_now(const struct run *run)
{
    const struct generator *generator = run->generator;
    const struct receiver *receiver = &generator->receiver;
    struct counts counts = {
        .wanted = run->wanted,
        .sent = generator->sender.sent,
        .sent_bytes = generator->sender.sent_bytes,
        .missed = run->missed,
    };
    if (!generator->receives)
        return counts;
    counts.received = receiver->received;
    counts.received_bytes = receiver->received_bytes;
    counts.delivered = receiver_delivered(receiver);
    counts.unreadable = receiver->unreadable;
    counts.foreign = receiver->foreign;
    counts.missing = receiver->tracker.missing;
    counts.reordered = receiver->tracker.reordered;
    counts.duplicates = receiver->tracker.duplicates;
    return counts;
}

/* Packets that were due one backlog ago (at most two) and are still unsent are given up. A
 * capture's never are: all of it shall be played. */
static void give_up_overdue(struct run *run, uint64_t due, uint64_t now_ns)
{
    uint64_t settled = run->generator->sender.sent + run->missed;
    if (now_ns - run->mark_ns < run->generator->options->backlog_ns)
        return;
    if (run->due_old > settled && !run->generator->sender.capture)
        run->missed += run->due_old - settled;
    run->due_old = run->due_new;
    run->due_new = due;
    run->mark_ns = now_ns;
}

/* After a stall the port gets at most twice the rate, not everything at once. */
static uint64_t allowance(const struct run *run, uint64_t now_ns)
{
    double elapsed = (double)RTE_MIN(now_ns - run->before_ns, (uint64_t)CATCH_UP_NS);
    if (run->schedule->kind == SCHEDULE_CAPTURE)
        return UINT64_MAX;
    return TX_BURST + (uint64_t)(2 * schedule_rate(run->schedule, now_ns) * elapsed / 1e9);
}

static uint64_t send_unlimited(struct run *run, uint64_t now_ns)
{
    struct sender *sender = &run->generator->sender;
    uint64_t left = run->schedule->end_count - RTE_MIN(sender->sent, run->schedule->end_count);
    if (now_ns >= run->schedule->end_ns)
        return 0;
    return sender_send(sender, RTE_MIN(left, (uint64_t)UNLIMITED_A_TURN),
                       run->generator->options->size, clock_ns());
}

static uint64_t send_due(struct run *run, uint64_t now_ns)
{
    struct sender *sender = &run->generator->sender;
    uint64_t due = schedule_due(run->schedule, now_ns), settled = sender->sent + run->missed;
    uint16_t size = schedule_size(run->schedule, now_ns);
    run->wanted = due;
    give_up_overdue(run, due, now_ns);
    if (due <= settled)
        return 0;
    return sender_send(sender, RTE_MIN(due - settled, allowance(run, now_ns)),
                       size ? size : run->generator->options->size, clock_ns());
}

static uint64_t send(struct run *run, uint64_t now_ns)
{
    uint64_t taken;
    if (!run->generator->sends)
        return 0;
    if (run->schedule->kind == SCHEDULE_UNLIMITED) {
        taken = send_unlimited(run, now_ns);
        run->wanted = run->generator->sender.sent;
    } else
        taken = send_due(run, now_ns);
    if (taken)
        run->taken_ns = now_ns;
    return taken;
}

static uint32_t receive(struct run *run)
{
    return run->generator->receives ? receiver_poll(&run->generator->receiver, BURSTS_A_TURN) : 0;
}

static void end_period(struct run *run, uint64_t now_ns)
{
    struct generator *generator = run->generator;
    struct counts counts = counts_now(run);
    uint64_t length = now_ns - run->period_start_ns;
    double wanted = (double)(counts.wanted - run->period_counts.wanted);
    double off = fabs((double)(counts.sent - run->period_counts.sent) - wanted);
    /* A packet more or less is rounding; so is a last period that was cut short. */
    if (wanted > 0 && off > 1 && length > generator->options->period_ns / 2)
        run->worst_rate_error = fmax(run->worst_rate_error, off / wanted);
    if (run->records && length > 0)
        report_period((double)now_ns / 1e9, (double)length / 1e9, &counts, &run->period_counts,
                      generator->receives ? &generator->receiver.period_latency : NULL,
                      ports_link_up(&generator->ports));
    receiver_end_period(&generator->receiver);
    run->period_counts = counts;
    run->period_start_ns = now_ns;
    while (run->period_end_ns <= now_ns)
        run->period_end_ns += generator->options->period_ns;
}

/* The rest of a period, with what came back during the drain; nothing to say if nothing moved. */
static void end_last_period(struct run *run)
{
    struct counts counts = counts_now(run);
    run->records &= memcmp(&counts, &run->period_counts, sizeof(counts)) != 0;
    end_period(run, clock_ns() - run->start_ns);
}

static void set_rate(struct generator *generator, struct schedule *schedule, double pps,
                     uint64_t now_ns)
{
    double limit = generator->options->max_pps;
    if (schedule->kind != SCHEDULE_CONSTANT && schedule->kind != SCHEDULE_UNLIMITED) {
        report_refused("rate", "the trace or capture sets the rate");
        return;
    }
    if (limit > 0 && pps > limit) {
        report_refused("rate", "above --max-pps");
        return;
    }
    schedule_set_rate(schedule, pps, now_ns, generator->sender.sent);
    report_command("rate", pps);
}

static void obey(struct run *run, uint64_t now_ns)
{
    struct generator *generator = run->generator;
    struct command command;
    if (!generator->options->control || now_ns - run->commands_ns < COMMANDS_EVERY_NS)
        return;
    run->commands_ns = now_ns;
    while (!run->stopped && control_next(&generator->control, 0, &command)) {
        if (command.kind == COMMAND_STOP) {
            report_command("stop", NAN);
            run->stopped = true;
        } else if (command.kind == COMMAND_RATE)
            set_rate(generator, run->schedule, command.pps, now_ns);
        else
            report_refused(command.kind == COMMAND_START ? "start" : "?",
                           command.kind == COMMAND_START ? "running already"
                                                         : "give start, rate PPS or stop");
    }
}

static bool finished(const struct run *run, uint64_t now_ns)
{
    const struct generator *generator = run->generator;
    const struct schedule *schedule = run->schedule;
    uint64_t settled = generator->sender.sent + run->missed;
    if (!generator->sends)
        return now_ns >= schedule->end_ns || generator->receiver.received >= schedule->end_count;
    if (now_ns < schedule->end_ns && settled < schedule->end_count)
        return false;
    return schedule->kind == SCHEDULE_UNLIMITED || run->wanted <= settled ||
           now_ns - run->taken_ns > STUCK_NS;
}

/* Sleeps until the next tick, unless there is reason to go on at once. */
static void rest(struct run *run, uint64_t sent, uint32_t received, uint64_t now_ns)
{
    const struct options *options = run->generator->options;
    bool unlimited = run->generator->sends && run->schedule->kind == SCHEDULE_UNLIMITED;
    bool busy = received >= options->descriptors / 2 || (unlimited && sent + received > 0);
    run->idle_turns = busy ? 0 : run->idle_turns + 1;
    if (busy)
        return;
    if (options->poll || (unlimited && run->idle_turns < YIELDS))
        sched_yield();
    else
        sleep_until_ns(run->start_ns + (now_ns / options->tick_ns + 1) * options->tick_ns);
}

/* Receives until nothing more comes back. */
static void drain(struct run *run)
{
    struct generator *generator = run->generator;
    uint64_t begin = clock_ns(), last = begin, now = begin;
    while (!signalled && now - last < generator->options->drain_ns && now - begin < DRAIN_MAX_NS) {
        sender_flush(&generator->sender);
        if (receive(run))
            last = clock_ns();
        if (generator->sends && generator->sender.pending_count == 0 &&
            (!generator->receives ||
             receiver_delivered(&generator->receiver) >= generator->sender.sent))
            break;
        sleep_until_ns(clock_ns() + generator->options->tick_ns);
        now = clock_ns();
    }
    sender_drop_pending(&generator->sender);
}

/* A generator that receives nothing cannot know what has arrived, and closing its port discards
 * packets that the peer has not read yet. So it waits for a while. */
static void keep_open(uint64_t span_ns)
{
    uint64_t until = clock_ns() + span_ns;
    while (!signalled && clock_ns() < until)
        sleep_until_ns(until);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void run_prepare(struct generator *generator)
{
    generator->stream++;
    sender_restart(&generator->sender, generator->stream);
    if (generator->receives)
        receiver_restart(&generator->receiver, generator->stream);
}

void run_schedule(struct generator *generator, struct schedule *schedule, bool records,
                  struct run_result *result)
{
    struct run run = {
        .generator = generator,
        .schedule = schedule,
        .records = records,
        .period_end_ns = generator->options->period_ns,
    };
    double cpu_before = cpu_seconds();
    uint64_t now_ns = 0;
    run.start_ns = clock_ns();
    while (!signalled && !run.stopped && !ferror(stdout)) {
        now_ns = clock_ns() - run.start_ns;
        uint64_t sent = send(&run, now_ns);
        uint32_t received = receive(&run);
        if (now_ns >= run.period_end_ns)
            end_period(&run, now_ns);
        obey(&run, now_ns);
        if (finished(&run, now_ns))
            break;
        rest(&run, sent, received, now_ns);
        run.before_ns = now_ns;
    }
    *result = (struct run_result){
        .end = signalled     ? RUN_SIGNAL
               : run.stopped ? RUN_STOPPED
                             : RUN_DONE,
        .seconds = (double)now_ns / 1e9,
    };
    drain(&run);
    end_last_period(&run);
    result->counts = counts_now(&run);
    result->counts.missed = run.wanted - RTE_MIN(run.wanted, generator->sender.sent);
    result->cpu_seconds = cpu_seconds() - cpu_before;
    result->worst_rate_error = run.worst_rate_error;
    if (!generator->receives)
        keep_open(RTE_MIN(generator->options->drain_ns, DRAIN_MAX_NS));
}

bool run_await_link(struct generator *generator)
{
    uint64_t until = clock_ns() + generator->options->link_wait_ns;
    while (!signalled && !ports_link_up(&generator->ports)) {
        if (clock_ns() > until)
            return false;
        sleep_until_ns(clock_ns() + LINK_POLL_NS);
    }
    return !signalled;
}

bool run_await_start(struct generator *generator, struct schedule *schedule)
{
    struct command command;
    while (!signalled) {
        if (generator->receives)
            receiver_poll(&generator->receiver, BURSTS_A_TURN);
        if (!control_next(&generator->control, PAUSED_MS, &command))
            continue;
        if (command.kind == COMMAND_STOP) {
            report_command("stop", NAN);
            return false;
        }
        if (command.kind == COMMAND_START) {
            report_command("start", NAN);
            return true;
        }
        if (command.kind == COMMAND_RATE)
            set_rate(generator, schedule, command.pps, 0);
        else
            report_refused("?", "give start, rate PPS or stop");
    }
    return false;
}
