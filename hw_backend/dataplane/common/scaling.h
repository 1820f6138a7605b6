/*
 * Targets to commands: which instances launch, block, rerun or stop. flexnfv/scaling.py defines the
 * rules (launching avoidance of the paper's Sec. III-C, limits, core budget, parking).
 *
 * Per-instance arrays are [types][slots], row by row.
 */
#ifndef FX_SCALING_H
#define FX_SCALING_H

#include <stdint.h>

#include "shared/abi.h"

/* What one slot is told to do; as flexnfv.states.Command. */
enum fx_slot_command { FX_NONE, FX_LAUNCH, FX_BLOCK, FX_RERUN, FX_STOP };

/*
 * In a plan's states, beside enum fx_state: told to stop, or deaf to what it is told. Holds its
 * slot and its cores until its process is gone, but counts as nothing and is told nothing.
 */
enum { FX_STOPPING = FX_BLOCKED + 1 };

/* What a chain allows; per-type arrays are [types]. */
struct fx_limits {
    uint32_t types;
    uint32_t slots;
    const int64_t *min_instances;
    const int64_t *max_instances;
    const int64_t *cores_per_instance;
    int64_t core_budget;
    double park_timeout_s; /* a blocked instance parked this long is stopped; INFINITY: never */
};

/*
 * The running instance of one NF type to block next: the least loaded, ties the highest slot; -1 if
 * no more than one is left. Slots whose command is FX_BLOCK count as blocked.
 */
int fx_victim(const int8_t *state, const double *load, const int8_t *command, uint32_t slots);

/*
 * One command (enum fx_slot_command) per slot. `targets` are wanted instances (running and
 * launching) per type, `spares` the parked instances to keep, -1: all; `state` is enum fx_state or
 * FX_STOPPING; `load` is in erlangs, `parked_s` in seconds. `clipped` receives, per type, the
 * wanted instances that limits or budget refused.
 */
void fx_plan(const struct fx_limits *limits, const int64_t *targets, const int64_t *spares,
             const int8_t *state, const double *load, const double *parked_s, int8_t *command,
             int64_t *clipped);

#endif
