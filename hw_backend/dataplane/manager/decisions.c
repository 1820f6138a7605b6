#include "manager/decisions.h"

#include <string.h>

#include <rte_ring.h>

#include "common/law.h"
#include "common/scaling.h"
#include "manager/instances.h"
#include "manager/maps.h"

#define SHORTEST_MARK_NS 5000000ull /* a load is measured over at least this */

struct fx_control_state fx_control;

static struct fx_manager *const mgr = &fx_manager;

/* Where the window began over which loads are measured. */
static struct {
    uint64_t time_ns;
    uint64_t arrived[FX_MAX_INSTANCE_SLOTS];
} mark;

static uint32_t row_length; /* slots of the type that has most */

void fx_decisions_init(void)
{
    for (uint32_t t = 0; t < mgr->config.types; t++)
        row_length = RTE_MAX(row_length, mgr->config.type[t].max_instances);
    fx_control.law = mgr->config.law;
    mark.time_ns = fx_now_ns();
}

void fx_heartbeat(uint64_t now)
{
    fx_control.heartbeats++;
    fx_control.last_heartbeat_ns = now;
    fx_control.control = FX_CONTROL_CONTROLLER;
}

uint32_t fx_row_length(void)
{
    return row_length;
}

/* --- what a decision rests on ------------------------------------------------------------------
 */

void fx_measure(uint64_t now)
{
    if (now - mark.time_ns < SHORTEST_MARK_NS)
        return;
    double seconds = (double)(now - mark.time_ns) * 1e-9;
    for (uint32_t index = 0; index < mgr->instances; index++) {
        uint64_t arrived = FX_SUM(instance[index].arrived);
        mgr->instance[index].load = fx_load((double)(arrived - mark.arrived[index]) / seconds,
                                            mgr->instance[index].processing_ns);
        mark.arrived[index] = arrived;
    }
    mark.time_ns = now;
}

void fx_gather(struct fx_rows *rows, uint64_t now)
{
    memset(rows, 0, sizeof(*rows));
    for (uint32_t index = 0; index < mgr->instances; index++) {
        const struct fx_instance *shared = &mgr->shared->instance[index];
        const struct fx_instance_state *instance = &mgr->instance[index];
        uint32_t at = shared->type * row_length + shared->slot;
        rows->state[at] = (int8_t)instance->state;
        rows->load[at] = instance->load;
        rows->queue[at] = rte_ring_count(shared->receive);
        bool asleep = instance->state == FX_BLOCKED || instance->state == FX_DRAINING;
        if (instance->stopping || (asleep && !fx_listens(index)))
            rows->state[at] = FX_STOPPING;
        else if (instance->state == FX_BLOCKED)
            rows->parked_s[at] = (double)(now - instance->state_since_ns) * 1e-9;
    }
}

/* --- carrying it out ---------------------------------------------------------------------------
 */

static void obey(const int8_t *commands, uint64_t now)
{
    uint32_t blocked[FX_MAX_INSTANCE_SLOTS], blocks = 0;
    struct fx_error error;
    for (uint32_t index = 0; index < mgr->instances; index++) {
        const struct fx_instance *shared = &mgr->shared->instance[index];
        switch (commands[shared->type * row_length + shared->slot]) {
        case FX_RERUN:
            fx_begin_rerun(index, now);
            break;
        case FX_STOP:
            fx_stop(index, &error);
            break;
        case FX_BLOCK:
            if (!fx_listens(index)) /* it runs on until a later decision finds that it does */
                break;
            fx_begin_block(index, now);
            blocked[blocks++] = index;
            break;
        case FX_LAUNCH:
            if (now >= mgr->instance[index].retry_ns)
                fx_begin_launch(index, mgr->config.type[shared->type].args, now, &error);
            break;
        }
    }
    fx_finish_blocks(blocked, blocks);
}

static void plan(const int64_t *targets, const int64_t *spares, uint64_t now, int8_t *commands,
                 int64_t *clipped)
{
    static struct fx_rows rows;
    int64_t least[FX_MAX_TYPES], most[FX_MAX_TYPES], cores[FX_MAX_TYPES];
    struct fx_limits limits = {.types = mgr->config.types,
                               .slots = row_length,
                               .min_instances = least,
                               .max_instances = most,
                               .cores_per_instance = cores,
                               .core_budget = mgr->config.core_budget,
                               .park_timeout_s = mgr->config.park_timeout_s};
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        least[t] = mgr->config.type[t].min_instances;
        most[t] = mgr->config.type[t].max_instances;
        cores[t] = mgr->config.type[t].cores;
    }
    fx_measure(now);
    fx_gather(&rows, now);
    fx_plan(&limits, targets, spares, rows.state, rows.load, rows.parked_s, commands, clipped);
}

static void adopt(const struct fx_decision *decision)
{
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        const struct fx_type_config *config = &mgr->config.type[t];
        struct fx_type_state *type = &mgr->type[t];
        struct fx_error error;
        if (decision->targets[t] >= 0)
            type->target =
                (uint16_t)RTE_MIN(RTE_MAX((uint32_t)decision->targets[t], config->min_instances),
                                  config->max_instances);
        type->spares = decision->spares[t];
        if (decision->mapping[t] >= 0 && decision->mapping[t] != (int32_t)type->mapping)
            fx_set_mapping(t, (uint32_t)decision->mapping[t], &error);
    }
}

void fx_decide(const struct fx_decision *decision, int32_t *clipped)
{
    static int8_t commands[FX_MAX_TYPES * FX_MAX_INSTANCES];
    int64_t targets[FX_MAX_TYPES], spares[FX_MAX_TYPES], refused[FX_MAX_TYPES] = {0};
    uint64_t now = fx_now_ns();
    adopt(decision);
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        targets[t] = decision->targets[t] < 0 ? mgr->type[t].target : decision->targets[t];
        spares[t] = decision->spares[t];
    }
    plan(targets, spares, now, commands, refused);
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        mgr->type[t].clipped += (uint64_t)refused[t];
        clipped[t] = (int32_t)refused[t];
    }
    fx_control.decisions++;
    obey(commands, now);
}

/* --- what a decision may say -------------------------------------------------------------------
 */

static int check_range(const char *name, const int32_t *values, int highest, struct fx_error *error)
{
    for (uint32_t t = 0; t < FX_MAX_TYPES; t++)
        if (values[t] < -1 || values[t] > highest)
            return fx_fail(error, "%s[%u]: %d is not -1 to %d", name, t, values[t], highest);
    return 0;
}

int fx_check_decision(const struct fx_decision *decision, struct fx_error *error)
{
    if (check_range("targets", decision->targets, FX_HIGHEST_COUNT, error) != 0 ||
        check_range("mapping", decision->mapping, FX_EVEN, error) != 0 ||
        check_range("spares", decision->spares, FX_HIGHEST_COUNT, error) != 0)
        return -1;
    for (uint32_t t = 0; t < mgr->config.types; t++)
        if (decision->mapping[t] != -1 &&
            fx_check_mapping(t, (uint32_t)decision->mapping[t], error) != 0)
            return -1;
    return 0;
}
