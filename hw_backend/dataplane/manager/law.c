#include "manager/law.h"

#include <string.h>

#include "common/law.h"
#include "manager/decisions.h"

#define MISSED_INTERVALS 2 /* of heartbeats, before the law takes over */

static struct fx_manager *const mgr = &fx_manager;

static struct {
    uint64_t time_ns;
    uint64_t deaths[FX_MAX_TYPES];
    struct fx_law_memory memory;
} law;

static void decide(uint64_t now)
{
    static struct fx_rows rows;
    static double load_if_blocked[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double high[FX_MAX_TYPES], low[FX_MAX_TYPES], queue[FX_MAX_TYPES];
    uint8_t unsettled[FX_MAX_TYPES];
    int64_t deaths[FX_MAX_TYPES], targets[FX_MAX_TYPES];
    int32_t clipped[FX_MAX_TYPES];
    uint32_t slots = fx_row_length();
    fx_measure(now);
    fx_gather(&rows, now);
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        const struct fx_type_config *config = &mgr->config.type[t];
        high[t] = config->high_load;
        low[t] = config->low_load;
        queue[t] = config->queue_threshold > 0 ? config->queue_threshold
                                               : FX_LAW_QUEUE_SHARE * (config->ring_size - 1);
        unsettled[t] = mgr->type[t].joined_ns >= law.time_ns && mgr->type[t].joined_ns > 0;
        deaths[t] = (int64_t)(mgr->type[t].deaths - law.deaths[t]);
        law.deaths[t] = mgr->type[t].deaths;
        uint32_t row = t * slots;
        fx_load_if_blocked(mgr->type[t].mapping, rows.state + row, rows.load + row, slots,
                           load_if_blocked + row);
    }
    law.time_ns = now;
    const struct fx_law_thresholds thresholds = {high, low, queue};
    const struct fx_law_reading reading = {rows.state,      rows.load, rows.queue,
                                           load_if_blocked, unsettled, deaths};
    fx_law_decide(mgr->config.types, slots, &thresholds, &reading, &law.memory, targets);
    fx_control.law_decisions++;
    struct fx_decision decision;
    memset(&decision, -1, sizeof(decision)); /* the law has no levers */
    for (uint32_t t = 0; t < mgr->config.types; t++)
        decision.targets[t] = (int32_t)targets[t];
    fx_decide(&decision, clipped);
}

/* The law begins to judge after one full interval. */
static void take_over(uint64_t now)
{
    fx_control.takeovers += fx_control.control == FX_CONTROL_CONTROLLER;
    fx_control.control = FX_CONTROL_LAW;
    memset(&law.memory, 0, sizeof(law.memory));
    law.time_ns = now;
    for (uint32_t t = 0; t < mgr->config.types; t++)
        law.deaths[t] = mgr->type[t].deaths;
    fx_measure(now);
    fx_log("no controller: the built-in law decides");
}

void fx_law_interval(uint64_t now)
{
    uint64_t patience_ns = MISSED_INTERVALS * mgr->config.interval_ns;
    bool ever_heard = fx_control.last_heartbeat_ns > 0;
    bool heard = ever_heard && now - fx_control.last_heartbeat_ns <= patience_ns;
    if (heard)
        return;
    if (!fx_control.law) {
        fx_control.control = FX_CONTROL_NONE;
        return;
    }
    if (!ever_heard && now - mgr->started_ns < patience_ns)
        return; /* a controller may still come */
    if (fx_control.control != FX_CONTROL_LAW)
        take_over(now);
    else
        decide(now);
}
