/*
 * The Scaling thread's part: from targets to commands (common/scaling.h decides which), and the
 * life of every instance through launching, running, draining, blocked and stopped.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ring.h>

#include "common/law.h"
#include "common/scaling.h"
#include "manager/control.h"

#define MAPS             8             /* buffers of a type's mapping */
#define RETRY_NS         1000000000ull /* after a launch that failed */
#define STOP_LIMIT_NS    3000000000ull /* of standing still, told to stop */
#define MISSED_INTERVALS 2             /* of heartbeats, before the law takes over */
#define SHORTEST_MARK_NS 5000000ull    /* a load is measured over at least this */

struct fx_control_state fx_control;

static struct fx_manager *const mgr = &fx_manager;

static struct {
    struct fx_map map[MAPS];
    uint32_t newest;
    uint32_t unsafe; /* published since the last grace period */
} maps[FX_MAX_TYPES];

/* Where the window began over which loads are measured. */
static struct {
    uint64_t time_ns;
    uint64_t arrived[FX_MAX_ENTRIES];
} mark;

static struct {
    uint64_t time_ns;
    uint64_t deaths[FX_MAX_TYPES];
    struct fx_law_memory memory;
} law;

static uint32_t slots_of_all; /* the row length of common/scaling.h's arrays */

/* --- small things --------------------------------------------------------------------------- */

static uint32_t entry_of(uint32_t type, uint32_t slot)
{
    return mgr->first[type] + slot;
}

static const char *name_of(uint32_t entry)
{
    static char text[FX_NAME_LENGTH + 16];
    snprintf(text, sizeof(text), "%s.%u", mgr->config.type[fx_type_of(entry)].name,
             mgr->shared->instance[entry].slot);
    return text;
}

static const char *state_name(uint8_t state)
{
    static const char *const names[] = {"stopped", "launching", "running", "draining", "blocked"};
    return names[state];
}

static void set_state(uint32_t entry, enum fx_state state, uint64_t now)
{
    mgr->life[entry].state = (uint8_t)state;
    mgr->life[entry].state_since_ns = now;
}

static uint32_t count(uint32_t type, enum fx_state state)
{
    uint32_t found = 0;
    for (uint32_t slot = 0; slot < mgr->config.type[type].max_instances; slot++)
        found += mgr->life[entry_of(type, slot)].state == state;
    return found;
}

uint32_t fx_cores_held(void)
{
    uint32_t cores = 0;
    for (uint32_t entry = 0; entry < mgr->entries; entry++)
        if (mgr->life[entry].state != FX_STOPPED)
            cores += mgr->config.type[fx_type_of(entry)].cores;
    return cores;
}

/* --- the mapping ---------------------------------------------------------------------------- */

/* Brings the type's mapping up to date. Workers see the new one in their next pass: fx_grace(). */
static void publish(uint32_t type)
{
    int8_t state[FX_MAX_INSTANCES];
    uint32_t slots = mgr->config.type[type].max_instances;
    for (uint32_t slot = 0; slot < slots; slot++) {
        const struct fx_life *life = &mgr->life[entry_of(type, slot)];
        state[slot] = (int8_t)(life->keep_mapped ? FX_RUNNING : life->state);
    }
    if (maps[type].unsafe == MAPS - 1) {
        fx_grace();
        maps[type].unsafe = 0;
    }
    struct fx_map *before = &maps[type].map[maps[type].newest];
    maps[type].newest = (maps[type].newest + 1) % MAPS;
    struct fx_map *after = &maps[type].map[maps[type].newest];
    *after = *before;
    if (after->kind != mgr->type[type].mapping)
        fx_map_init(after, mgr->type[type].mapping);
    fx_map_update(after, state, slots);
    atomic_store_explicit(&mgr->map[type], after, memory_order_release);
    maps[type].unsafe++;
    if (mgr->type[type].remappings++ > 0) /* the first one moves nothing from anywhere */
        mgr->type[type].flows_moved += fx_map_moved(before, after);
}

/* --- messages and reclaiming ---------------------------------------------------------------- */

static bool has_cpu(int seat, uint16_t cpu)
{
    for (uint32_t i = 0; seat >= 0 && i < mgr->shared->seat[seat].cpus; i++)
        if (mgr->shared->seat[seat].cpu[i] == cpu)
            return true;
    return false;
}

/* Whether an instance has its core for itself: the core's frequency may then go down. */
static bool own_core(uint32_t entry)
{
    for (uint32_t other = 0; other < mgr->entries; other++)
        if (other != entry && has_cpu(mgr->life[other].seat, (uint16_t)mgr->life[entry].cpu))
            return false;
    return true;
}

/* Its messages are read, or at least there is room for one more. */
static bool listens(uint32_t entry)
{
    return !rte_ring_full(mgr->shared->instance[entry].messages);
}

/* Only to who listens: asked before anything is changed on account of the message. */
static void send(uint32_t entry, enum fx_message kind)
{
    struct fx_instance *instance = &mgr->shared->instance[entry];
    void *message = fx_message_pack(kind, own_core(entry), instance->generation);
    rte_ring_enqueue(instance->messages, message);
    mgr->life[entry].sent++;
    fx_wake(&instance->sleeping);
}

/* Has the worker take back what a process that ended held; done when this returns. */
static void reclaim(uint32_t entry, enum fx_reclaim how)
{
    struct fx_instance *instance = &mgr->shared->instance[entry];
    useconds_t pause = 20;
    atomic_store_explicit(&mgr->reclaim[entry], how, memory_order_release);
    fx_wake(&mgr->shared->worker[instance->worker].sleeping);
    while (atomic_load_explicit(&mgr->reclaim[entry], memory_order_acquire) != FX_RECLAIM_NONE) {
        usleep(pause);
        pause = RTE_MIN(2 * pause, 1000u);
    }
}

void fx_scaling_empty_hands(void)
{
    for (uint32_t entry = 0; entry < mgr->entries; entry++)
        if (atomic_load(&mgr->attached[entry / 64]) >> entry % 64 & 1)
            reclaim(entry, FX_RECLAIM_HANDS);
}

/* --- launch --------------------------------------------------------------------------------- */

/* Finds the entry a process: a spare if there is one. The ring may hold packets already. */
static int start_process(uint32_t entry, struct fx_error *error)
{
    struct fx_life *life = &mgr->life[entry];
    struct fx_instance *instance = &mgr->shared->instance[entry];
    struct fx_type_life *type = &mgr->type[fx_type_of(entry)];
    instance->generation++;
    life->sent = 0;
    life->mapped_ns = life->parked_at_ns = 0;
    life->stopping = life->stop_when_drained = false;
    atomic_store(&instance->first_packet_ns, 0);
    atomic_store(&instance->polling_ns, 0);
    atomic_store(&instance->parked_ns, 0);
    atomic_fetch_or(&mgr->attached[entry / 64], 1ull << entry % 64);
    life->start_kind = FX_START_SPARE;
    life->seat = fx_process_wake_spare((int)entry);
    if (life->seat < 0) {
        life->start_kind = FX_START_PROCESS;
        life->seat = fx_process_start((int)entry, error);
    }
    if (life->seat < 0) {
        type->failed_launches++;
        return -1;
    }
    type->launches++;
    type->spare_launches += life->start_kind == FX_START_SPARE;
    life->launches++;
    return 0;
}

static void launch(uint32_t entry, const char *args, uint64_t now, struct fx_error *error)
{
    struct fx_life *life = &mgr->life[entry];
    struct fx_instance *instance = &mgr->shared->instance[entry];
    snprintf(instance->args, sizeof(instance->args), "%s", args);
    life->command_ns = now;
    set_state(entry, FX_LAUNCHING, now);
    if (start_process(entry, error) != 0) {
        set_state(entry, FX_STOPPED, now);
        life->retry_ns = now + RETRY_NS;
    }
}

int fx_check_slot(uint32_t type, int slot, struct fx_error *error)
{
    const struct fx_type_config *config = &mgr->config.type[type];
    if (config->max_instances == 0)
        return fx_fail(error, "%s runs inside the instances of %s, it has none of its own",
                       config->name, mgr->config.type[0].name);
    if (slot < 0 || slot >= (int)config->max_instances)
        return fx_fail(error, "%s has slots 0 to %u, not %d", config->name,
                       config->max_instances - 1, slot);
    return 0;
}

int fx_launch(uint32_t type, int slot, const char *args, int *taken, struct fx_error *error)
{
    const struct fx_type_config *config = &mgr->config.type[type];
    int chosen = -1;
    if (fx_check_slot(type, RTE_MAX(slot, 0), error) != 0)
        return -1;
    for (int s = 0; s < (int)config->max_instances && chosen < 0; s++)
        if ((slot < 0 || s == slot) && mgr->life[entry_of(type, (uint32_t)s)].state == FX_STOPPED)
            chosen = s;
    if (chosen < 0)
        return fx_fail(error, "%s: no stopped slot to launch in", config->name);
    if (fx_cores_held() + config->cores > mgr->config.core_budget)
        return fx_fail(error, "the core budget of %u is used up", mgr->config.core_budget);
    uint32_t entry = entry_of(type, (uint32_t)chosen);
    launch(entry, args && *args ? args : config->args, fx_now_ns(), error);
    if (mgr->life[entry].state != FX_LAUNCHING)
        return -1;
    *taken = chosen;
    return 0;
}

static void now_running(uint32_t entry, uint64_t now)
{
    struct fx_life *life = &mgr->life[entry];
    uint32_t type = fx_type_of(entry);
    life->keep_mapped = false;
    life->retry_ns = 0;
    set_state(entry, FX_RUNNING, now);
    publish(type);
    life->mapped_ns = fx_now_ns();
    mgr->type[type].joined_ns = now;
}

/* --- block, rerun, stop ---------------------------------------------------------------------- */

static void begin_block(uint32_t entry, uint64_t now)
{
    set_state(entry, FX_DRAINING, now);
    mgr->type[fx_type_of(entry)].blocks++;
}

/* Unmapped first, told second: so that an empty ring means drained. */
static void finish_blocks(const uint32_t *entry, uint32_t count_of)
{
    bool done[FX_MAX_TYPES] = {false};
    for (uint32_t i = 0; i < count_of; i++)
        if (!done[fx_type_of(entry[i])]) {
            publish(fx_type_of(entry[i]));
            done[fx_type_of(entry[i])] = true;
        }
    if (count_of > 0)
        fx_grace();
    for (uint32_t i = 0; i < count_of; i++)
        send(entry[i], FX_MSG_BLOCK);
}

static int fail_deaf(uint32_t entry, struct fx_error *error)
{
    return fx_fail(error, "%s does not read its messages: it hangs, or its process is stopped",
                   name_of(entry));
}

int fx_block(uint32_t entry, struct fx_error *error)
{
    if (mgr->life[entry].state != FX_RUNNING)
        return fx_fail(error, "%s is %s, only a running instance can be blocked", name_of(entry),
                       state_name(mgr->life[entry].state));
    if (count(fx_type_of(entry), FX_RUNNING) <= mgr->config.type[fx_type_of(entry)].min_instances)
        return fx_fail(error, "%s is one of the %u that run at least (min)", name_of(entry),
                       mgr->config.type[fx_type_of(entry)].min_instances);
    if (!listens(entry))
        return fail_deaf(entry, error);
    begin_block(entry, fx_now_ns());
    finish_blocks(&entry, 1);
    return 0;
}

static void rerun(uint32_t entry, uint64_t now)
{
    struct fx_life *life = &mgr->life[entry];
    uint32_t type = fx_type_of(entry);
    life->command_ns = now;
    life->stop_when_drained = false;
    life->reruns++;
    mgr->type[type].reruns++;
    atomic_store(&mgr->shared->instance[entry].first_packet_ns, 0);
    send(entry, FX_MSG_RERUN);
    set_state(entry, FX_RUNNING, now);
    publish(type);
    life->mapped_ns = fx_now_ns();
    mgr->type[type].joined_ns = now;
}

int fx_rerun(uint32_t entry, struct fx_error *error)
{
    const struct fx_life *life = &mgr->life[entry];
    if ((life->state != FX_DRAINING && life->state != FX_BLOCKED) || life->stopping)
        return fx_fail(error, "%s is %s, only a blocked instance can be rerun", name_of(entry),
                       life->stopping ? "stopping" : state_name(life->state));
    if (!listens(entry))
        return fail_deaf(entry, error);
    rerun(entry, fx_now_ns());
    return 0;
}

static void tell_to_stop(uint32_t entry)
{
    mgr->life[entry].stopping = true;
    send(entry, FX_MSG_STOP);
}

int fx_stop(uint32_t entry, struct fx_error *error)
{
    struct fx_life *life = &mgr->life[entry];
    if (life->state == FX_STOPPED || life->state == FX_LAUNCHING || life->stopping)
        return fx_fail(error, "%s is %s, it cannot be stopped now", name_of(entry),
                       life->stopping ? "stopping" : state_name(life->state));
    if (life->state == FX_RUNNING && fx_block(entry, error) != 0)
        return -1;
    life->stop_when_drained = true;
    life->still_ns = 0;
    if (life->state == FX_BLOCKED) /* parked: it has read all its messages */
        tell_to_stop(entry);
    return 0;
}

int fx_kill(uint32_t entry, struct fx_error *error)
{
    int seat = mgr->life[entry].seat;
    if (mgr->life[entry].state == FX_STOPPED || seat < 0)
        return fx_fail(error, "%s has no process", name_of(entry));
    if (mgr->life[entry].state == FX_LAUNCHING)
        return fx_fail(error, "%s is launching: killed now it could leave a lock of DPDK's held",
                       name_of(entry));
    kill(fx_process[seat].pid, SIGKILL);
    return 0;
}

static void now_parked(uint32_t entry, uint64_t now)
{
    struct fx_life *life = &mgr->life[entry];
    life->parked_at_ns = atomic_load(&mgr->shared->instance[entry].parked_ns);
    set_state(entry, FX_BLOCKED, now);
    if (life->stop_when_drained)
        tell_to_stop(entry);
}

/* --- ends of processes ------------------------------------------------------------------------ */

static void launch_failed(uint32_t entry, const char *reason, uint64_t now)
{
    struct fx_life *life = &mgr->life[entry];
    struct fx_type_life *type = &mgr->type[fx_type_of(entry)];
    type->failed_launches++;
    snprintf(type->last_failure, sizeof(type->last_failure), "%s",
             *reason ? reason : "the process ended before it polled (see nf.log)");
    fx_log("%s could not be launched: %s", name_of(entry), type->last_failure);
    life->keep_mapped = false;
    life->retry_ns = now + RETRY_NS;
    set_state(entry, FX_STOPPED, now);
    publish(fx_type_of(entry));
    fx_grace();
    reclaim(entry, FX_RECLAIM_ALL);
}

/* The last of its type has died and no blocked one can take over. */
static void relaunch_in_place(uint32_t entry, uint64_t now)
{
    struct fx_error error;
    /* It stays mapped: its ring holds what arrives until the next process polls. */
    mgr->life[entry].keep_mapped = true;
    mgr->life[entry].command_ns = now;
    set_state(entry, FX_LAUNCHING, now);
    reclaim(entry, FX_RECLAIM_HANDS);
    if (start_process(entry, &error) != 0)
        launch_failed(entry, error.text, now);
}

static int any_blocked(uint32_t type)
{
    for (uint32_t slot = 0; slot < mgr->config.type[type].max_instances; slot++) {
        const struct fx_life *life = &mgr->life[entry_of(type, slot)];
        if ((life->state == FX_BLOCKED || life->state == FX_DRAINING) && !life->stopping &&
            listens(entry_of(type, slot)))
            return (int)entry_of(type, slot);
    }
    return -1;
}

static void died(uint32_t entry, uint64_t now)
{
    struct fx_life *life = &mgr->life[entry];
    uint32_t type = fx_type_of(entry);
    bool was_running = life->state == FX_RUNNING;
    life->deaths++;
    mgr->type[type].deaths++;
    mgr->type[type].joined_ns = now;
    set_state(entry, FX_STOPPED, now);
    if (was_running && count(type, FX_RUNNING) == 0) {
        int heir = any_blocked(type);
        if (heir < 0) {
            relaunch_in_place(entry, now);
            return;
        }
        rerun((uint32_t)heir, now);
    }
    publish(type);
    fx_grace();
    reclaim(entry, FX_RECLAIM_ALL);
}

void fx_scaling_process_ended(int seat)
{
    uint64_t now = fx_now_ns();
    int entry = fx_process[seat].entry, pid = fx_process[seat].pid;
    if (pid == 0)
        return;
    char reason[FX_REASON_LENGTH];
    memcpy(reason, mgr->shared->seat[seat].reason, sizeof(reason));
    reason[sizeof(reason) - 1] = '\0';
    int status = fx_process_reap(seat);
    if (entry < 0)
        return;
    struct fx_life *life = &mgr->life[entry];
    life->seat = -1;
    if (life->stopping) {
        mgr->type[fx_type_of((uint32_t)entry)].stops++;
        set_state((uint32_t)entry, FX_STOPPED, now);
        publish(fx_type_of((uint32_t)entry));
        fx_grace();
        reclaim((uint32_t)entry, FX_RECLAIM_ALL);
    } else if (life->state == FX_LAUNCHING) {
        launch_failed((uint32_t)entry, reason, now);
    } else {
        fx_log("%s (process %d) died, wait status %#x", name_of((uint32_t)entry), pid, status);
        died((uint32_t)entry, now);
    }
    life->stopping = life->stop_when_drained = false;
}

/* --- what NFs and workers report -------------------------------------------------------------- */

/* scalib_launch_nfs(): an NF asks for more of its own type. */
static void grant(int seat, uint32_t wanted)
{
    int entry = fx_process[seat].entry, taken;
    struct fx_error error;
    int granted = 0;
    while (granted < (int)wanted &&
           fx_launch(fx_type_of((uint32_t)entry), -1, NULL, &taken, &error) == 0)
        granted++;
    if (granted > 0)
        fx_adopt_target(fx_type_of((uint32_t)entry));
    atomic_store(&mgr->shared->seat[seat].wanted, 0);
    atomic_store(&mgr->shared->seat[seat].granted, granted);
    fx_wake_all((_Atomic uint32_t *)&mgr->shared->seat[seat].granted);
}

static void look_at_seat(int index, uint64_t now)
{
    struct fx_seat *seat = &mgr->shared->seat[index];
    struct fx_process *process = &fx_process[index];
    uint32_t phase = atomic_load_explicit(&seat->phase, memory_order_acquire);
    uint32_t obeyed = atomic_load_explicit(&seat->obeyed, memory_order_acquire);
    if (process->entry < 0) {
        process->ready = phase == FX_PHASE_SPARE;
        return;
    }
    uint32_t entry = (uint32_t)process->entry;
    struct fx_life *life = &mgr->life[entry];
    if (phase == FX_PHASE_POLLING && life->state == FX_LAUNCHING)
        now_running(entry, now);
    else if (phase == FX_PHASE_PARKED && life->state == FX_DRAINING && obeyed == life->sent)
        now_parked(entry, now);
    uint32_t wanted = atomic_load_explicit(&seat->wanted, memory_order_acquire);
    if (wanted > 0)
        grant(index, wanted);
}

void fx_scaling_event(void)
{
    uint64_t now = fx_now_ns();
    for (int seat = 0; seat < FX_MAX_SEATS; seat++)
        if (fx_process[seat].pid != 0)
            look_at_seat(seat, now);
}

/* --- targets ---------------------------------------------------------------------------------- */

/* Load of every instance since the last decision. */
static void measure(uint64_t now)
{
    if (now - mark.time_ns < SHORTEST_MARK_NS)
        return;
    double seconds = (double)(now - mark.time_ns) * 1e-9;
    for (uint32_t entry = 0; entry < mgr->entries; entry++) {
        uint64_t arrived = fx_arrived(entry);
        mgr->life[entry].load = fx_load((double)(arrived - mark.arrived[entry]) / seconds,
                                        mgr->life[entry].processing_ns);
        mark.arrived[entry] = arrived;
    }
    mark.time_ns = now;
}

struct rows { /* [types][slots] for common/ */
    int8_t state[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double load[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double parked_s[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double queue[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double load_if_blocked[FX_MAX_TYPES * FX_MAX_INSTANCES];
    int8_t command[FX_MAX_TYPES * FX_MAX_INSTANCES];
};

static void gather(struct rows *rows, uint64_t now)
{
    memset(rows, 0, sizeof(*rows));
    for (uint32_t entry = 0; entry < mgr->entries; entry++) {
        const struct fx_instance *instance = &mgr->shared->instance[entry];
        const struct fx_life *life = &mgr->life[entry];
        uint32_t at = instance->type * slots_of_all + instance->slot;
        rows->state[at] = (int8_t)life->state;
        rows->load[at] = life->load;
        rows->queue[at] = rte_ring_count(instance->receive);
        bool asleep = life->state == FX_BLOCKED || life->state == FX_DRAINING;
        if (life->stopping || (asleep && !listens(entry)))
            rows->state[at] = FX_STOPPING;
        else if (life->state == FX_BLOCKED)
            rows->parked_s[at] = (double)(now - life->state_since_ns) * 1e-9;
    }
}

static void obey(const struct rows *rows, uint64_t now)
{
    uint32_t blocked[FX_MAX_ENTRIES], blocks = 0;
    struct fx_error error;
    for (uint32_t entry = 0; entry < mgr->entries; entry++) {
        const struct fx_instance *instance = &mgr->shared->instance[entry];
        switch (rows->command[instance->type * slots_of_all + instance->slot]) {
        case FX_RERUN:
            rerun(entry, now);
            break;
        case FX_STOP:
            fx_stop(entry, &error);
            break;
        case FX_BLOCK:
            if (!listens(entry)) /* runs on until it does, or is blocked by a later decision */
                break;
            begin_block(entry, now);
            blocked[blocks++] = entry;
            break;
        case FX_LAUNCH:
            if (now >= mgr->life[entry].retry_ns)
                launch(entry, mgr->config.type[instance->type].args, now, &error);
            break;
        }
    }
    finish_blocks(blocked, blocks);
}

static void apply(const int64_t *targets, int64_t *clipped, uint64_t now)
{
    static struct rows rows;
    int64_t least[FX_MAX_TYPES], most[FX_MAX_TYPES], cores[FX_MAX_TYPES];
    struct fx_limits limits = {.types = mgr->config.types,
                               .slots = slots_of_all,
                               .min_instances = least,
                               .max_instances = most,
                               .cores_per_instance = cores,
                               .core_budget = mgr->config.core_budget,
                               .park_timeout_s = mgr->config.park_timeout_s};
    measure(now);
    gather(&rows, now);
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        least[t] = mgr->config.type[t].min_instances;
        most[t] = mgr->config.type[t].max_instances;
        cores[t] = mgr->config.type[t].cores;
    }
    fx_plan(&limits, targets, rows.state, rows.load, rows.parked_s, rows.command, clipped);
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        int64_t low = mgr->config.type[t].min_instances, high = mgr->config.type[t].max_instances;
        mgr->type[t].target = (uint16_t)(targets[t] < low    ? low
                                         : targets[t] > high ? high
                                                             : targets[t]);
        mgr->type[t].clipped += (uint64_t)clipped[t];
    }
    fx_control.decisions++;
    obey(&rows, now);
}

void fx_set_targets(const int32_t *targets, int32_t *clipped)
{
    int64_t wanted[FX_MAX_TYPES], refused[FX_MAX_TYPES] = {0};
    for (uint32_t t = 0; t < mgr->config.types; t++)
        wanted[t] = targets[t] < 0 ? mgr->type[t].target : targets[t];
    apply(wanted, refused, fx_now_ns());
    for (uint32_t t = 0; t < mgr->config.types; t++)
        clipped[t] = (int32_t)refused[t];
}

void fx_adopt_target(uint32_t type)
{
    mgr->type[type].target = (uint16_t)(count(type, FX_RUNNING) + count(type, FX_LAUNCHING));
}

/* --- the built-in law ------------------------------------------------------------------------- */

void fx_heartbeat(uint64_t now)
{
    fx_control.heartbeats++;
    fx_control.last_heartbeat_ns = now;
    fx_control.control = FX_CONTROL_CONTROLLER;
}

static void decide_by_law(uint64_t now)
{
    static struct rows rows;
    double high[FX_MAX_TYPES], low[FX_MAX_TYPES], queue[FX_MAX_TYPES];
    uint8_t unsettled[FX_MAX_TYPES];
    int64_t deaths[FX_MAX_TYPES], targets[FX_MAX_TYPES], clipped[FX_MAX_TYPES];
    measure(now);
    gather(&rows, now);
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        const struct fx_type_config *config = &mgr->config.type[t];
        high[t] = config->high_load;
        low[t] = config->low_load;
        queue[t] = config->queue_threshold > 0 ? config->queue_threshold
                                               : FX_LAW_QUEUE_SHARE * (config->ring_size - 1);
        unsettled[t] = mgr->type[t].joined_ns >= law.time_ns && mgr->type[t].joined_ns > 0;
        deaths[t] = (int64_t)(mgr->type[t].deaths - law.deaths[t]);
        law.deaths[t] = mgr->type[t].deaths;
        uint32_t row = t * slots_of_all;
        fx_load_if_blocked(mgr->type[t].mapping, rows.state + row, rows.load + row, slots_of_all,
                           rows.load_if_blocked + row);
    }
    law.time_ns = now;
    const struct fx_law_thresholds thresholds = {high, low, queue};
    const struct fx_law_reading reading = {rows.state,           rows.load, rows.queue,
                                           rows.load_if_blocked, unsettled, deaths};
    fx_law_decide(mgr->config.types, slots_of_all, &thresholds, &reading, &law.memory, targets);
    fx_control.law_decisions++;
    apply(targets, clipped, now);
}

void fx_scaling_interval(uint64_t now)
{
    bool heard = fx_control.last_heartbeat_ns > 0 &&
                 now - fx_control.last_heartbeat_ns <= MISSED_INTERVALS * mgr->config.interval_ns;
    if (heard || !fx_control.law) {
        if (!heard)
            fx_control.control = FX_CONTROL_NONE;
        return;
    }
    bool ever = fx_control.last_heartbeat_ns > 0 ||
                now - mgr->started_ns >= MISSED_INTERVALS * mgr->config.interval_ns;
    if (!ever)
        return;
    if (fx_control.control != FX_CONTROL_LAW) {
        fx_control.takeovers += fx_control.control == FX_CONTROL_CONTROLLER;
        fx_control.control = FX_CONTROL_LAW;
        memset(&law.memory, 0, sizeof(law.memory));
        law.time_ns = now; /* judge after one full interval */
        for (uint32_t t = 0; t < mgr->config.types; t++)
            law.deaths[t] = mgr->type[t].deaths;
        measure(now);
        fx_log("no controller: the built-in law decides");
        return;
    }
    decide_by_law(now);
}

/* --- now and then ----------------------------------------------------------------------------- */

/* A type without any instance that wants one: after a failed launch, say. */
static void revive(uint32_t type, uint64_t now)
{
    struct fx_error error;
    const struct fx_type_config *config = &mgr->config.type[type];
    if (mgr->type[type].target == 0 || count(type, FX_RUNNING) || count(type, FX_LAUNCHING) ||
        count(type, FX_DRAINING) || count(type, FX_BLOCKED))
        return;
    uint32_t entry = entry_of(type, 0); /* all of them are stopped: any will do */
    if (now >= mgr->life[entry].retry_ns &&
        fx_cores_held() + config->cores <= mgr->config.core_budget)
        launch(entry, config->args, now, &error);
}

/*
 * Told to stop, it serves no packet and is not gone. Time is counted in our own ticks: when the
 * whole machine was asleep, nobody hung.
 */
static bool hangs(uint32_t entry)
{
    struct fx_life *life = &mgr->life[entry];
    uint64_t served = atomic_load(&mgr->shared->instance[entry].served);
    life->still_ns = served == life->seen_served ? life->still_ns + mgr->config.status_ns : 0;
    life->seen_served = served;
    return life->still_ns > STOP_LIMIT_NS;
}

static void kill_if_hung(uint32_t entry, uint64_t now)
{
    const struct fx_life *life = &mgr->life[entry];
    if (life->seat < 0)
        return;
    if (life->state == FX_LAUNCHING && now - life->state_since_ns > FX_LAUNCH_LIMIT_NS)
        fx_log("%s does not poll within 10 s of its launch: killed", name_of(entry));
    else if (life->stop_when_drained && hangs(entry))
        fx_log("%s was told to stop and has done nothing for 3 s: killed", name_of(entry));
    else
        return;
    kill(fx_process[life->seat].pid, SIGKILL);
}

void fx_scaling_tick(uint64_t now)
{
    fx_locks_tick(fx_process_starts(), now);
    for (uint32_t entry = 0; entry < mgr->entries; entry++)
        kill_if_hung(entry, now);
    for (uint32_t type = 0; type < mgr->config.types; type++)
        revive(type, now);
    fx_processes_refill();
}

int fx_set_mapping(uint32_t type, uint32_t mapping, struct fx_error *error)
{
    if (mapping > FX_EVEN)
        return fx_fail(error, "there is no mapping %u", mapping);
    if (!fx_mapping_allowed(&mgr->config.type[type], mapping))
        return fx_fail(error, "%s keeps state per flow: only rendezvous, or one instance",
                       mgr->config.type[type].name);
    mgr->type[type].mapping = mapping;
    publish(type);
    return 0;
}

void fx_set_pace(uint32_t type, double pps)
{
    mgr->type[type].pace_pps = pps;
    for (uint32_t slot = 0; slot < mgr->config.type[type].max_instances; slot++) {
        struct fx_instance *instance = &mgr->shared->instance[entry_of(type, slot)];
        atomic_store(&instance->pace_pps, pps);
        fx_wake(&instance->sleeping);
    }
}

void fx_set_entry(enum fx_entry entry)
{
    /* Marks as shares of a ring: when above, a ring is hot; when not above the other, no longer.
     * Two rings' worth is never reached. */
    double above = entry == FX_ENTRY_SHED ? 0.8 : 2.0, below = entry == FX_ENTRY_SHED ? 0.6 : 2.0;
    for (uint32_t e = 0; e < mgr->entries; e++) {
        double size = mgr->config.type[fx_type_of(e)].ring_size;
        atomic_store(&mgr->hot_above[e], (uint32_t)(above * size));
        atomic_store(&mgr->hot_below[e], (uint32_t)(below * size));
    }
    atomic_store(&mgr->entry_mode, entry);
}

/* --- start ------------------------------------------------------------------------------------ */

void fx_scaling_init(void)
{
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        const struct fx_type_config *config = &mgr->config.type[t];
        slots_of_all = RTE_MAX(slots_of_all, config->max_instances);
        mgr->type[t].mapping = config->mapping;
        mgr->type[t].target = (uint16_t)config->initial_instances;
        fx_map_init(&maps[t].map[0], config->mapping);
        atomic_store(&mgr->map[t], &maps[t].map[0]);
        fx_set_pace(t, config->pace_pps);
    }
    for (uint32_t entry = 0; entry < mgr->entries; entry++) {
        mgr->life[entry].seat = -1;
        mgr->life[entry].cpu = -1;
    }
    fx_control.law = mgr->config.law;
    fx_set_entry(mgr->config.entry);
    mark.time_ns = fx_now_ns();
}

int fx_scaling_start(struct fx_error *error)
{
    for (uint32_t t = 0; t < mgr->config.types; t++)
        for (uint32_t i = 0; i < mgr->config.type[t].initial_instances; i++) {
            int taken;
            if (fx_launch(t, -1, NULL, &taken, error) != 0)
                return -1;
        }
    return 0;
}
