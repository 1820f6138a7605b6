#include "manager/recovery.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "manager/instances.h"
#include "manager/maps.h"
#include "manager/processes.h"
#include "manager/worker.h"

#define STOP_LIMIT_NS 3000000000ull /* of doing nothing, for an instance that was told to stop */

static struct fx_manager *const mgr = &fx_manager;

/* --- ends of processes -------------------------------------------------------------------------
 */

/* The instance is stopped: its flows go to others, and so does what waits for it. */
static void give_up(uint32_t index)
{
    fx_publish_map(fx_type_of(index));
    fx_grace();
    fx_reclaim(index, FX_RECLAIM_ALL);
}

static void launch_failed(uint32_t index, const char *reason, uint64_t now)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    struct fx_type_state *type = &mgr->type[fx_type_of(index)];
    type->failed_launches++;
    snprintf(type->last_failure, sizeof(type->last_failure), "%s",
             *reason ? reason : "the process ended before it polled (see nf.log)");
    fx_log("%s could not be launched: %s", fx_instance_name(index), type->last_failure);
    instance->keep_mapped = false;
    instance->retry_ns = now + FX_RETRY_NS;
    fx_set_state(index, FX_STOPPED, now);
    give_up(index);
}

/*
 * The last of its type has died, and no blocked instance can take over. It stays mapped, so that
 * its ring holds what arrives until the next process polls.
 */
static void relaunch_in_place(uint32_t index, uint64_t now)
{
    struct fx_error error;
    mgr->instance[index].keep_mapped = true;
    mgr->instance[index].command_ns = now;
    fx_set_state(index, FX_LAUNCHING, now);
    fx_reclaim(index, FX_RECLAIM_BURST);
    if (fx_start_process(index, &error) != 0)
        launch_failed(index, error.text, now);
}

/* A blocked instance of the type that can be rerun, or -1. */
static int any_blocked(uint32_t type)
{
    for (uint32_t slot = 0; slot < mgr->config.type[type].max_instances; slot++) {
        uint32_t index = fx_index_of(type, slot);
        const struct fx_instance_state *instance = &mgr->instance[index];
        if ((instance->state == FX_BLOCKED || instance->state == FX_DRAINING) &&
            !instance->stopping && fx_listens(index))
            return (int)index;
    }
    return -1;
}

static void died(uint32_t index, uint64_t now)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    uint32_t type = fx_type_of(index);
    bool was_running = instance->state == FX_RUNNING;
    instance->deaths++;
    mgr->type[type].deaths++;
    mgr->type[type].joined_ns = now;
    fx_set_state(index, FX_STOPPED, now);
    if (was_running && fx_count_instances(type, FX_RUNNING) == 0) {
        int heir = any_blocked(type);
        if (heir < 0) {
            relaunch_in_place(index, now);
            return;
        }
        fx_begin_rerun((uint32_t)heir, now);
    }
    give_up(index);
}

void fx_recovery_process_ended(uint32_t slot)
{
    uint64_t now = fx_now_ns();
    int index = fx_process[slot].instance, pid = fx_process[slot].pid;
    if (pid == 0)
        return;
    char reason[FX_REASON_LENGTH];
    memcpy(reason, mgr->shared->process[slot].reason, sizeof(reason));
    reason[sizeof(reason) - 1] = '\0';
    int status = fx_process_reap((int)slot);
    if (index < 0)
        return;
    struct fx_instance_state *instance = &mgr->instance[index];
    instance->process = -1;
    if (instance->stopping) {
        mgr->type[fx_type_of((uint32_t)index)].stops++;
        fx_set_state((uint32_t)index, FX_STOPPED, now);
        give_up((uint32_t)index);
    } else if (instance->state == FX_LAUNCHING) {
        launch_failed((uint32_t)index, reason, now);
    } else {
        fx_log("%s (process %d) died, wait status %#x", fx_instance_name((uint32_t)index), pid,
               status);
        died((uint32_t)index, now);
    }
    instance->stopping = instance->stop_when_drained = false;
}

void fx_recovery_free_in_flight(void)
{
    for (uint32_t index = 0; index < mgr->instances; index++)
        if (atomic_load(&mgr->attached[index / 64]) >> index % 64 & 1)
            fx_reclaim(index, FX_RECLAIM_BURST);
}

/* --- every status period -----------------------------------------------------------------------
 */

/* Launches an instance of a type that wants one and has none, after a failed launch for instance.
 */
static void revive(uint32_t type, uint64_t now)
{
    struct fx_error error;
    const struct fx_type_config *config = &mgr->config.type[type];
    if (mgr->type[type].target == 0 || fx_count_instances(type, FX_STOPPED) < config->max_instances)
        return;
    uint32_t index = fx_index_of(type, 0); /* all of them are stopped: any will do */
    if (now >= mgr->instance[index].retry_ns &&
        fx_cores_held() + config->cores <= mgr->config.core_budget)
        fx_begin_launch(index, config->args, now, &error);
}

/*
 * Whether an instance that was told to stop serves no packet and does not end. Time is counted in
 * this thread's own ticks, so that nobody is found to hang because the whole machine was asleep.
 */
static bool hangs(uint32_t index)
{
    struct fx_instance_state *instance = &mgr->instance[index];
    uint64_t served = atomic_load(&mgr->shared->instance[index].served);
    bool still = served == instance->seen_served;
    instance->still_ns = still ? instance->still_ns + mgr->config.status_ns : 0;
    instance->seen_served = served;
    return instance->still_ns > STOP_LIMIT_NS;
}

static void kill_if_hung(uint32_t index, uint64_t now)
{
    const struct fx_instance_state *instance = &mgr->instance[index];
    if (instance->process < 0)
        return;
    if (instance->state == FX_LAUNCHING && now - instance->state_since_ns > FX_LAUNCH_LIMIT_NS)
        fx_log("%s does not poll within 10 s of its launch: killed", fx_instance_name(index));
    else if (instance->stop_when_drained && hangs(index))
        fx_log("%s was told to stop and has done nothing for 3 s: killed", fx_instance_name(index));
    else
        return;
    kill(fx_process[instance->process].pid, SIGKILL);
}

void fx_recovery_tick(uint64_t now)
{
    for (uint32_t index = 0; index < mgr->instances; index++)
        kill_if_hung(index, now);
    for (uint32_t type = 0; type < mgr->config.types; type++)
        revive(type, now);
}
