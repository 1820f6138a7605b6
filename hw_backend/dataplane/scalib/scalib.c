#define _GNU_SOURCE
#include "scalib/scalib.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_prefetch.h>
#include <rte_ring.h>
#include <rte_ring_peek.h>

#include "dpdk_internals/rings.h"
#include "scalib/bucket.h"
#include "scalib/power.h"
#include "scalib/process.h"

enum {
    MAX_FUNCTIONS = 64,
    YIELDS = 20,         /* before sleeping: measured best on a shared core */
    TICK_NS = 500000,    /* of a paced instance */
    IDLE_TICKS = 4,      /* without a packet, before a paced instance sleeps on the futex */
    SLEEP_US = 100000,   /* bound on one sleep */
    ANSWER_US = 2000000, /* bound on waiting for the manager's answer */
};

/* --- functions that this binary knows ------------------------------------------------------- */

static const struct flexnfv_nf_ops *functions[MAX_FUNCTIONS + 1];

void flexnfv_register(const struct flexnfv_nf_ops *ops)
{
    for (int i = 0; i < MAX_FUNCTIONS; i++)
        if (!functions[i]) {
            functions[i] = ops;
            return;
        }
}

const struct flexnfv_nf_ops *flexnfv_find(const char *name)
{
    for (int i = 0; functions[i]; i++)
        if (strcmp(functions[i]->name, name) == 0)
            return functions[i];
    return NULL;
}

const struct flexnfv_nf_ops *const *flexnfv_functions(void)
{
    return functions;
}

int flexnfv_fail(struct flexnfv_nf *nf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(nf->process->reason, sizeof(nf->process->reason), format, args);
    va_end(args);
    return -1;
}

/* --- the instance that this process serves: one, so that Listing 1's calls find it ----------- */

static struct {
    struct flexnfv_nf nf;
    struct fx_shared *shared;
    uint32_t messages_seen;
    bool blocked;  /* told to block: drains, then parks */
    bool parked;   /* drained; asleep until a message comes */
    bool own_core; /* no other instance shares the core: its frequency may go down */
    bool stop;
    bool await_first; /* the next packet is the first since the launch or rerun */
    struct fx_bucket bucket;
    struct timespec tick;
    int idle_ticks;
} me;

void fx_tell_manager(void)
{
    uint64_t one = 1;
    ssize_t written = write(FX_FD_EVENT, &one, sizeof(one));
    (void)written; /* a counter that is full has not been read yet: the manager will look anyway */
}

static void enter(enum fx_phase phase)
{
    /* `obeyed` is stored first, so that whoever sees the phase knows which messages led to it. */
    atomic_store_explicit(&me.nf.process->obeyed, me.messages_seen, memory_order_release);
    atomic_store_explicit(&me.nf.process->phase, phase, memory_order_release);
    fx_tell_manager();
}

void scalib_block_nf(struct flexnfv_nf_info *info)
{
    if (info->instance == me.nf.info.instance)
        me.blocked = true;
}

void scalib_rerun_nf(struct flexnfv_nf_info *info)
{
    if (info->instance != me.nf.info.instance || !me.blocked)
        return;
    if (me.parked)
        fx_power_restore();
    me.blocked = me.parked = false;
    me.await_first = true;
    atomic_store_explicit(&me.nf.shared->first_packet_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&me.nf.shared->polling_ns, fx_now_ns(), memory_order_relaxed);
    enter(FX_PHASE_POLLING);
}

void scalib_check_msg(struct flexnfv_nf *nf)
{
    void *message;
    if (rte_ring_dequeue(nf->shared->messages, &message) != 0)
        return;
    if (fx_message_generation(message) != nf->info.generation) {
        atomic_fetch_add_explicit(&nf->shared->bad_messages, 1, memory_order_relaxed);
        return;
    }
    me.messages_seen++;
    switch (fx_message_kind(message)) {
    case FX_MSG_BLOCK:
        me.own_core = fx_message_own_core(message);
        scalib_block_nf(&nf->info);
        break;
    case FX_MSG_RERUN:
        scalib_rerun_nf(&nf->info);
        break;
    case FX_MSG_STOP:
        me.stop = true;
        break;
    }
}

int scalib_launch_nfs(struct flexnfv_nf_info *info, uint16_t num_nfs)
{
    if (num_nfs == 0 || info->instance != me.nf.info.instance)
        return 0;
    struct fx_process_slot *process = me.nf.process;
    atomic_store_explicit(&process->granted, -1, memory_order_relaxed);
    atomic_store_explicit(&process->wanted, num_nfs, memory_order_release);
    fx_tell_manager();
    uint64_t limit = fx_now_ns() + ANSWER_US * 1000ull;
    while (atomic_load_explicit(&process->granted, memory_order_acquire) < 0 && fx_now_ns() < limit)
        fx_sleep((_Atomic uint32_t *)&process->granted, UINT32_MAX, SLEEP_US);
    return atomic_load_explicit(&process->granted, memory_order_acquire) == num_nfs;
}

/* --- one burst ------------------------------------------------------------------------------ */

/* This process alone writes these counters, so that no locked instruction is needed. */
static void add(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

/*
 * The burst is declared in flight before the ring's tail moves: wherever the NF dies, every packet
 * is either in the ring or in that burst (the manager takes a head without its tail back).
 */
static uint16_t receive(struct fx_instance *in, uint16_t limit)
{
    uint16_t count =
        (uint16_t)rte_ring_dequeue_burst_start(in->receive, (void **)in->burst, limit, NULL);
    if (count == 0)
        return 0;
    atomic_store_explicit(&in->burst_count, count, memory_order_release);
    rte_ring_dequeue_finish(in->receive, count);
    return count;
}

static void transmit(struct fx_instance *out, uint16_t count)
{
    /* The NF waits for room, since only the manager may free packets. The manager empties this ring
     * whatever happens. */
    while (rte_ring_free_count(out->transmit) < count)
        sched_yield();
    uint32_t tail = fx_ring_enqueued(out->transmit) + count;
    atomic_store_explicit(&out->transmit_tail, tail, memory_order_relaxed);
    atomic_store_explicit(&out->handing_on, 1, memory_order_release);
    rte_ring_enqueue_bulk(out->transmit, (void **)out->burst, count, NULL);
    atomic_store_explicit(&out->burst_count, 0, memory_order_release);
    atomic_store_explicit(&out->handing_on, 0, memory_order_release);
    fx_wake(&me.shared->worker[out->worker].sleeping);
}

/* Prefetches all packets at once: one after the other, each would cost a transfer between cores. */
static void fetch(struct rte_mbuf *const *packets, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++)
        rte_prefetch0(packets[i]);
    for (uint16_t i = 0; i < count; i++)
        rte_prefetch0(rte_pktmbuf_mtod(packets[i], const void *));
}

static uint16_t handle_burst(uint16_t limit)
{
    struct fx_instance *mine = me.nf.shared;
    uint16_t count = receive(mine, limit);
    if (count == 0)
        return 0;
    uint64_t start = rte_rdtsc();
    fetch(mine->burst, count);
    me.nf.ops->process(&me.nf, mine->burst, count);
    add(&mine->busy_tsc, rte_rdtsc() - start);
    transmit(mine, count);
    add(&mine->served, count);
    if (me.await_first) {
        me.await_first = false;
        atomic_store_explicit(&mine->first_packet_ns, fx_now_ns(), memory_order_relaxed);
    }
    return count;
}

/* --- waiting -------------------------------------------------------------------------------- */

static bool nothing_to_do(void)
{
    return !me.stop && rte_ring_empty(me.nf.shared->messages) &&
           (me.parked || rte_ring_empty(me.nf.shared->receive));
}

static void sleep_until_called(void)
{
    _Atomic uint32_t *sleeping = &me.nf.shared->sleeping;
    atomic_store_explicit(sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with fx_wake() */
    if (nothing_to_do())
        fx_sleep(sleeping, 1, me.parked ? 0 : SLEEP_US);
    atomic_store_explicit(sleeping, 0, memory_order_relaxed);
}

static void sleep_until_tick(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    me.tick.tv_nsec += TICK_NS;
    if (me.tick.tv_nsec >= 1000000000) {
        me.tick.tv_nsec -= 1000000000;
        me.tick.tv_sec++;
    }
    bool late = now.tv_sec > me.tick.tv_sec ||
                (now.tv_sec == me.tick.tv_sec && now.tv_nsec >= me.tick.tv_nsec);
    if (late)
        me.tick = now;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &me.tick, NULL);
}

/* --- from launch to stop -------------------------------------------------------------------- */

/* One pass of an instance limited to a rate: spend the tokens, sleep until the next tick. */
static uint16_t pass_paced(double rate)
{
    struct fx_bucket *bucket = &me.bucket;
    uint32_t total = 0;
    fx_bucket_fill(bucket, rate, rte_rdtsc(), (double)me.shared->tsc_hz);
    for (;;) {
        uint16_t limit = fx_bucket_allows(bucket, FX_BURST);
        uint16_t count = limit ? handle_burst(limit) : 0;
        if (count == 0)
            break;
        fx_bucket_take(bucket, count);
        total += count;
    }
    if (total == 0 && rte_ring_empty(me.nf.shared->receive)) {
        if (me.blocked || ++me.idle_ticks > IDLE_TICKS)
            return 0;
    } else {
        me.idle_ticks = 0;
    }
    sleep_until_tick();
    return 1;
}

static void park(void)
{
    if (me.own_core)
        fx_power_lowest();
    me.parked = true;
    atomic_store_explicit(&me.nf.shared->parked_ns, fx_now_ns(), memory_order_relaxed);
    enter(FX_PHASE_PARKED);
}

static void run(void)
{
    int idle = 0;
    while (!me.stop) {
        scalib_check_msg(&me.nf);
        if (!me.parked) {
            double rate = atomic_load_explicit(&me.nf.shared->pace_pps, memory_order_relaxed);
            if (rate > 0 ? pass_paced(rate) : handle_burst(FX_BURST)) {
                idle = 0;
                continue;
            }
            /* The manager blocks an instance after it has unmapped it, so an empty ring stays
             * empty. */
            if (me.blocked && rte_ring_empty(me.nf.shared->receive))
                park();
        }
        if (me.shared->busy_polling && !me.parked)
            continue;
        if (++idle <= YIELDS && !me.parked)
            sched_yield();
        else
            sleep_until_called();
    }
}

static void pin(const struct fx_process_slot *process)
{
    rte_cpuset_t set;
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < process->cpus; i++)
        CPU_SET(process->cpu[i], &set);
    rte_thread_set_affinity(&set); /* DPDK's own call: its power library asks DPDK for our CPU */
}

int fx_serve(struct fx_shared *shared, struct fx_process_slot *process, int32_t index)
{
    struct fx_instance *mine = &shared->instance[index];
    const struct fx_shared_type *type = &shared->type[mine->type];
    me.shared = shared;
    me.nf = (struct flexnfv_nf){
        .info = {mine->type, (uint16_t)index, mine->slot, mine->generation},
        .ops = shared->replicas ? fx_replica(shared) : flexnfv_find(type->function),
        .process = process,
        .shared = mine,
    };
    snprintf(me.nf.type_name, sizeof(me.nf.type_name), "%s", type->name);
    pin(process);
    if (!me.nf.ops)
        flexnfv_fail(&me.nf, "there is no NF function '%s'", type->function);
    if (!me.nf.ops || (me.nf.ops->init && me.nf.ops->init(&me.nf, mine->args) != 0)) {
        enter(FX_PHASE_FAILED);
        return 1;
    }
    atomic_store(&process->power, fx_power_init(process->cpu, process->cpus));
    me.await_first = true;
    clock_gettime(CLOCK_MONOTONIC, &me.tick);
    atomic_store_explicit(&mine->first_packet_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&mine->polling_ns, fx_now_ns(), memory_order_relaxed);
    enter(FX_PHASE_POLLING);
    run();
    if (me.nf.ops->teardown)
        me.nf.ops->teardown(&me.nf);
    fx_power_exit();
    enter(FX_PHASE_LEAVING);
    return 0;
}
