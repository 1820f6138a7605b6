#include "law.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define REQUEST_MAX 1e6 /* far above any limit, and within an integer */

/* One NF type of a reading, its thresholds and its checks. */
struct type_view {
    uint32_t slots;
    const int8_t *state;
    const double *load;
    const double *queue;
    const double *load_if_blocked;
    double high;
    double low;
    double threshold;
    uint8_t *long_checks;
    uint8_t *short_checks;
    int64_t running;
    int64_t launching;
};

static int64_t count(const struct type_view *type, enum fx_state state)
{
    int64_t found = 0;
    for (uint32_t slot = 0; slot < type->slots; slot++)
        found += type->state[slot] == (int8_t)state;
    return found;
}

static uint8_t next_check(uint8_t checks, bool beyond)
{
    if (!beyond)
        return 0;
    return checks < FX_LAW_CHECKS ? checks + 1 : FX_LAW_CHECKS;
}

/* A queue at the threshold ends both counts; those of a type that is not judged stay. */
static void count_checks(struct type_view *type, bool judged)
{
    for (uint32_t slot = 0; slot < type->slots; slot++) {
        if (type->state[slot] != FX_RUNNING) {
            type->long_checks[slot] = type->short_checks[slot] = 0;
        } else if (judged) {
            double queue = type->queue[slot];
            type->long_checks[slot] = next_check(type->long_checks[slot], queue > type->threshold);
            type->short_checks[slot] =
                next_check(type->short_checks[slot], queue < type->threshold);
        }
    }
}

/* Instances asked for: the largest floor(load / H), or one where a queue stayed long. */
static int64_t requested(const struct type_view *type)
{
    double most = 0.0;
    bool backlog = false;
    for (uint32_t slot = 0; slot < type->slots; slot++) {
        if (type->state[slot] != FX_RUNNING)
            continue;
        if (type->load[slot] > type->high)
            most = fmax(most, floor(type->load[slot] / type->high));
        backlog |= type->long_checks[slot] >= FX_LAW_CHECKS;
    }
    if (most > 0.0)
        return (int64_t)fmin(most, REQUEST_MAX);
    return backlog;
}

/* Least loaded, ties the highest slot; call it only where an instance runs. */
static uint32_t least_loaded(const struct type_view *type)
{
    double least = INFINITY;
    uint32_t chosen = 0;
    for (uint32_t slot = 0; slot < type->slots; slot++) {
        if (type->state[slot] == FX_RUNNING && type->load[slot] <= least) {
            least = type->load[slot];
            chosen = slot;
        }
    }
    return chosen;
}

/* The victim is idle, and the rest can carry its load. */
static bool can_block(const struct type_view *type)
{
    uint32_t victim = least_loaded(type);
    bool idle = type->load[victim] < type->low || type->short_checks[victim] >= FX_LAW_CHECKS;
    return idle && type->load_if_blocked[victim] <= type->high;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The targets of one type; `dead` instances died in the interval, `wanted` were asked for last. */
static int64_t decide(const struct type_view *type, bool judged, int64_t dead, int64_t wanted)
{
    int64_t here = type->running + type->launching;
    int64_t base = larger(here, wanted < here + dead ? wanted : here + dead);
    int64_t targets = base;
    if (judged) {
        int64_t more = requested(type);
        if (more > 0)
            targets = larger(base, type->running + larger(type->launching, more));
        else if (type->launching == 0 && type->running > 1 && base == here && can_block(type))
            targets = here - 1;
    }
    return larger(targets, 1);
}

void fx_law_decide(uint32_t types, uint32_t slots, const struct fx_law_thresholds *thresholds,
                   const struct fx_law_reading *reading, struct fx_law_memory *memory,
                   int64_t *targets)
{
    for (uint32_t t = 0; t < types; t++) {
        struct type_view type = {
            .slots = slots,
            .state = reading->state + t * slots,
            .load = reading->load + t * slots,
            .queue = reading->queue + t * slots,
            .load_if_blocked = reading->load_if_blocked + t * slots,
            .high = thresholds->high[t],
            .low = thresholds->low[t],
            .threshold = thresholds->queue[t],
            .long_checks = memory->long_checks[t],
            .short_checks = memory->short_checks[t],
        };
        type.running = count(&type, FX_RUNNING);
        type.launching = count(&type, FX_LAUNCHING);
        bool judged = !reading->unsettled[t];
        count_checks(&type, judged);
        targets[t] = decide(&type, judged, reading->deaths[t], memory->wanted[t]);
        memory->wanted[t] = targets[t];
        if (targets[t] != type.running + type.launching) { /* an action starts the checks anew */
            memset(type.long_checks, 0, sizeof(memory->long_checks[t]));
            memset(type.short_checks, 0, sizeof(memory->short_checks[t]));
        }
    }
}
