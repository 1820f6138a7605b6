/*
 * The paper's scaling law (Sec. III-B): watermarks on load, thresholds on queues. The manager runs
 * it when no controller does. policies/watermark.py defines it, reading by reading of what the
 * paper leaves open; this is that law with its default readings, and agrees with it to the last
 * bit.
 *
 * A decision is a function of the newest reading and of the law's memory alone. Per-instance arrays
 * are [types][slots], row by row; types <= FX_MAX_TYPES, slots <= FX_MAX_INSTANCES.
 */
#ifndef FX_LAW_H
#define FX_LAW_H

#include <stdint.h>

#include "shared/abi.h"

#define FX_LAW_CHECKS 5 /* in a row, that a queue must be beyond its threshold (paper) */

/* Share of a ring's usable slots that is the queue threshold; a ring of n holds n - 1. */
#define FX_LAW_QUEUE_SHARE 0.5

/* What loads and queues are compared with; [types] each. */
struct fx_law_thresholds {
    const double *high;  /* H, erlangs, above 0 */
    const double *low;   /* L, erlangs */
    const double *queue; /* packets */
};

/* What the monitor measured in one interval. */
struct fx_law_reading {
    const int8_t *state;           /* enum fx_state at its end, per instance */
    const double *load;            /* fx_load() of each instance, erlangs */
    const double *queue;           /* packets in the receive ring of each, at its end */
    const double *load_if_blocked; /* fx_load_if_blocked(), erlangs */
    const uint8_t *unsettled;      /* an instance joined or died within it; per type */
    const int64_t *deaths;         /* per type */
};

/* What the law remembers from one reading to the next; all zero at first. */
struct fx_law_memory {
    uint8_t long_checks[FX_MAX_TYPES][FX_MAX_INSTANCES];  /* in a row with a queue above */
    uint8_t short_checks[FX_MAX_TYPES][FX_MAX_INSTANCES]; /* in a row with a queue below */
    int64_t wanted[FX_MAX_TYPES];                         /* the targets last asked for */
};

/* Load in erlangs: arrival rate (packets/s) x processing time (ns), in the core's order. */
static inline double fx_load(double arrived_pps, double processing_ns)
{
    return arrived_pps * processing_ns * 1e-9;
}

/* Targets (running plus launching instances), one per type. */
void fx_law_decide(uint32_t types, uint32_t slots, const struct fx_law_thresholds *thresholds,
                   const struct fx_law_reading *reading, struct fx_law_memory *memory,
                   int64_t *targets);

#endif
