#include "manager/instances.h"

#include <signal.h>
#include <stdio.h>

#include <rte_ring.h>

#include "manager/maps.h"
#include "manager/processes.h"
#include "manager/worker.h"

static struct fx_manager *const mgr = &fx_manager;

/* --- what is known of them -------------------------------------------------------------------- */

const char *fx_instance_name(uint32_t index)
{
    static char text[FX_NAME_LENGTH + 16];
    snprintf(text, sizeof(text), "%s.%u", mgr->config.type[fx_type_of(index)].name,
             mgr->shared->instance[index].slot);
    return text;
}

static const char *state_name(uint8_t state)
{
    static const char *const names[] = {"stopped", "launching", "running", "draining", "blocked"};
    return names[state];
}

void fx_set_state(uint32_t index, enum fx_state state, uint64_t now)
{
    mgr->instance[index].state = (uint8_t)state;
    mgr->instance[index].state_since_ns = now;
}

uint32_t fx_count_instances(uint32_t type, enum fx_state state)
{
    uint32_t found = 0;
    for (uint32_t slot = 0; slot < mgr->config.type[type].max_instances; slot++)
        found += mgr->instance[fx_index_of(type, slot)].state == state;
    return found;
}

uint32_t fx_cores_held(void)
{
    uint32_t cores = 0;
    for (uint32_t index = 0; index < mgr->instances; index++)
        if (mgr->instance[index].state != FX_STOPPED)
            cores += mgr->config.type[fx_type_of(index)].cores;
    return cores;
}

/* --- messages --------------------------------------------------------------------------------- */

static bool has_cpu(int process, uint16_t cpu)
{
    for (uint32_t i = 0; process >= 0 && i < mgr->shared->process[process].cpus; i++)
        if (mgr->shared->process[process].cpu[i] == cpu)
            return true;
    return false;
}

/* Whether an instance has its core for itself: the core's frequency may then go down. */
static bool own_core(uint32_t index)
{
    for (uint32_t other = 0; other < mgr->instances; other++)
        if (other != index &&
            has_cpu(mgr->instance[other].process, (uint16_t)mgr->instance[index].cpu))
            return false;
    return true;
}

bool fx_listens(uint32_t index)
{
    return !rte_ring_full(mgr->shared->instance[index].messages);
}

/*
 * The caller has found that the instance listens, before it changed anything: a message that is
 * lost must not have changed what the manager takes the instance's state to be.
 */
static void send(uint32_t index, enum fx_message kind)
{
    struct fx_instance *shared = &mgr->shared->instance[index];
    rte_ring_enqueue(shared->messages, fx_message_pack(kind, own_core(index), shared->generation));
    mgr->instance[index].sent++;
    fx_wake(&shared->sleeping);
}

/* --- launch ----------------------------------------------------------------------------------- */

int fx_start_process(uint32_t index, struct fx_error *error)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    struct fx_instance *shared = &mgr->shared->instance[index];
    struct fx_type_state *type = &mgr->type[fx_type_of(index)];
    shared->generation++;
    instance->sent = 0;
    instance->mapped_ns = instance->parked_at_ns = 0;
    instance->stopping = instance->stop_when_drained = false;
    atomic_store(&shared->first_packet_ns, 0);
    atomic_store(&shared->polling_ns, 0);
    atomic_store(&shared->parked_ns, 0);
    atomic_fetch_or(&mgr->attached[index / 64], 1ull << index % 64);
    instance->start_kind = FX_START_SPARE;
    instance->process = fx_process_wake_spare((int)index);
    if (instance->process < 0) {
        instance->start_kind = FX_START_PROCESS;
        instance->process = fx_process_start((int)index, error);
    }
    if (instance->process < 0) {
        type->failed_launches++;
        return -1;
    }
    type->launches++;
    type->spare_launches += instance->start_kind == FX_START_SPARE;
    instance->launches++;
    return 0;
}

void fx_begin_launch(uint32_t index, const char *args, uint64_t now, struct fx_error *error)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    struct fx_instance *shared = &mgr->shared->instance[index];
    snprintf(shared->args, sizeof(shared->args), "%s", args);
    instance->command_ns = now;
    fx_set_state(index, FX_LAUNCHING, now);
    if (fx_start_process(index, error) != 0) {
        fx_set_state(index, FX_STOPPED, now);
        instance->retry_ns = now + FX_RETRY_NS;
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
        if ((slot < 0 || s == slot) &&
            mgr->instance[fx_index_of(type, (uint32_t)s)].state == FX_STOPPED)
            chosen = s;
    if (chosen < 0)
        return fx_fail(error, "%s: no stopped slot to launch in", config->name);
    if (fx_cores_held() + config->cores > mgr->config.core_budget)
        return fx_fail(error, "the core budget of %u is used up", mgr->config.core_budget);
    uint32_t index = fx_index_of(type, (uint32_t)chosen);
    fx_begin_launch(index, args && *args ? args : config->args, fx_now_ns(), error);
    if (mgr->instance[index].state != FX_LAUNCHING)
        return -1;
    *taken = chosen;
    return 0;
}

int fx_launch_initial(struct fx_error *error)
{
    for (uint32_t t = 0; t < mgr->config.types; t++)
        for (uint32_t i = 0; i < mgr->config.type[t].initial_instances; i++) {
            int taken;
            if (fx_launch(t, -1, NULL, &taken, error) != 0)
                return -1;
        }
    return 0;
}

/* --- block, rerun, stop ------------------------------------------------------------------------
 */

void fx_begin_block(uint32_t index, uint64_t now)
{
    fx_set_state(index, FX_DRAINING, now);
    mgr->type[fx_type_of(index)].blocks++;
}

/*
 * Instances are told to block only once no worker sends them packets any more, so that an instance
 * which finds its ring empty knows that it has drained.
 */
void fx_finish_blocks(const uint32_t *index, uint32_t count)
{
    bool done[FX_MAX_TYPES] = {false};
    for (uint32_t i = 0; i < count; i++)
        if (!done[fx_type_of(index[i])]) {
            fx_publish_map(fx_type_of(index[i]));
            done[fx_type_of(index[i])] = true;
        }
    if (count > 0)
        fx_grace();
    for (uint32_t i = 0; i < count; i++)
        send(index[i], FX_MSG_BLOCK);
}

static int fail_deaf(uint32_t index, struct fx_error *error)
{
    return fx_fail(error, "%s does not read its messages: it hangs, or its process is stopped",
                   fx_instance_name(index));
}

int fx_block(uint32_t index, struct fx_error *error)
{
    uint32_t type = fx_type_of(index);
    if (mgr->instance[index].state != FX_RUNNING)
        return fx_fail(error, "%s is %s, only a running instance can be blocked",
                       fx_instance_name(index), state_name(mgr->instance[index].state));
    if (fx_count_instances(type, FX_RUNNING) <= mgr->config.type[type].min_instances)
        return fx_fail(error, "%s is one of the %u that run at least (min)",
                       fx_instance_name(index), mgr->config.type[type].min_instances);
    if (!fx_listens(index))
        return fail_deaf(index, error);
    fx_begin_block(index, fx_now_ns());
    fx_finish_blocks(&index, 1);
    return 0;
}

void fx_begin_rerun(uint32_t index, uint64_t now)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    uint32_t type = fx_type_of(index);
    instance->command_ns = now;
    instance->stop_when_drained = false;
    instance->reruns++;
    mgr->type[type].reruns++;
    atomic_store(&mgr->shared->instance[index].first_packet_ns, 0);
    send(index, FX_MSG_RERUN);
    fx_set_state(index, FX_RUNNING, now);
    fx_publish_map(type);
    instance->mapped_ns = fx_now_ns();
    mgr->type[type].joined_ns = now;
}

int fx_rerun(uint32_t index, struct fx_error *error)
{
    const struct fx_instance_state *instance = &mgr->instance[index];
    if ((instance->state != FX_DRAINING && instance->state != FX_BLOCKED) || instance->stopping)
        return fx_fail(error, "%s is %s, only a blocked instance can be rerun",
                       fx_instance_name(index),
                       instance->stopping ? "stopping" : state_name(instance->state));
    if (!fx_listens(index))
        return fail_deaf(index, error);
    fx_begin_rerun(index, fx_now_ns());
    return 0;
}

static void tell_to_stop(uint32_t index)
{
    mgr->instance[index].stopping = true;
    send(index, FX_MSG_STOP);
}

int fx_stop(uint32_t index, struct fx_error *error)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    if (instance->state == FX_STOPPED || instance->state == FX_LAUNCHING || instance->stopping)
        return fx_fail(error, "%s is %s, it cannot be stopped now", fx_instance_name(index),
                       instance->stopping ? "stopping" : state_name(instance->state));
    if (instance->state == FX_RUNNING && fx_block(index, error) != 0)
        return -1;
    instance->stop_when_drained = true;
    instance->still_ns = 0;
    if (instance->state == FX_BLOCKED) /* it is parked, hence has read all its messages */
        tell_to_stop(index);
    return 0;
}

int fx_kill(uint32_t index, struct fx_error *error)
{
    int process = mgr->instance[index].process;
    if (mgr->instance[index].state == FX_STOPPED || process < 0)
        return fx_fail(error, "%s has no process", fx_instance_name(index));
    if (mgr->instance[index].state == FX_LAUNCHING)
        return fx_fail(error, "%s is launching: killed now it could leave a lock of DPDK's held",
                       fx_instance_name(index));
    kill(fx_process[process].pid, SIGKILL);
    return 0;
}

void fx_set_pace(uint32_t type, double pps)
{
    mgr->type[type].pace_pps = pps;
    for (uint32_t slot = 0; slot < mgr->config.type[type].max_instances; slot++) {
        struct fx_instance *shared = &mgr->shared->instance[fx_index_of(type, slot)];
        atomic_store(&shared->pace_pps, pps);
        fx_wake(&shared->sleeping);
    }
}

void fx_adopt_target(uint32_t type)
{
    mgr->type[type].target =
        (uint16_t)(fx_count_instances(type, FX_RUNNING) + fx_count_instances(type, FX_LAUNCHING));
}

/* --- what NFs report -------------------------------------------------------------------------- */

static void now_running(uint32_t index, uint64_t now)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    uint32_t type = fx_type_of(index);
    instance->keep_mapped = false;
    instance->retry_ns = 0;
    fx_set_state(index, FX_RUNNING, now);
    fx_publish_map(type);
    instance->mapped_ns = fx_now_ns();
    mgr->type[type].joined_ns = now;
}

static void now_parked(uint32_t index, uint64_t now)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    instance->parked_at_ns = atomic_load(&mgr->shared->instance[index].parked_ns);
    fx_set_state(index, FX_BLOCKED, now);
    if (instance->stop_when_drained)
        tell_to_stop(index);
}

/* scalib_launch_nfs(): an NF asks for more of its own type. */
static void grant(int slot, uint32_t wanted)
{
    struct fx_process_slot *shared = &mgr->shared->process[slot];
    uint32_t type = fx_type_of((uint32_t)fx_process[slot].instance);
    struct fx_error error;
    int granted = 0, taken;
    while (granted < (int)wanted && fx_launch(type, -1, NULL, &taken, &error) == 0)
        granted++;
    if (granted > 0)
        fx_adopt_target(type);
    atomic_store(&shared->wanted, 0);
    atomic_store(&shared->granted, granted);
    fx_wake_all((_Atomic uint32_t *)&shared->granted);
}

static void look_at_process(int slot, uint64_t now)
{
    struct fx_process_slot *shared = &mgr->shared->process[slot];
    struct fx_process *process = &fx_process[slot];
    uint32_t phase = atomic_load_explicit(&shared->phase, memory_order_acquire);
    uint32_t obeyed = atomic_load_explicit(&shared->obeyed, memory_order_acquire);
    if (process->instance < 0) {
        process->ready = phase == FX_PHASE_SPARE;
        return;
    }
    uint32_t index = (uint32_t)process->instance;
    struct fx_instance_state *instance = &mgr->instance[index];
    if (phase == FX_PHASE_POLLING && instance->state == FX_LAUNCHING)
        now_running(index, now);
    else if (phase == FX_PHASE_PARKED && instance->state == FX_DRAINING && obeyed == instance->sent)
        now_parked(index, now);
    uint32_t wanted = atomic_load_explicit(&shared->wanted, memory_order_acquire);
    if (wanted > 0)
        grant(slot, wanted);
}

void fx_instances_look(void)
{
    uint64_t now = fx_now_ns();
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++)
        if (fx_process[slot].pid != 0)
            look_at_process(slot, now);
}

/* --- start ------------------------------------------------------------------------------------ */

void fx_instances_init(void)
{
    fx_maps_init();
    for (uint32_t index = 0; index < mgr->instances; index++) {
        mgr->instance[index].process = -1;
        mgr->instance[index].cpu = -1;
    }
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        mgr->type[t].target = (uint16_t)mgr->config.type[t].initial_instances;
        mgr->type[t].spares = -1;
        fx_set_pace(t, mgr->config.type[t].pace_pps);
    }
}
