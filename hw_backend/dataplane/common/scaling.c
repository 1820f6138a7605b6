#include "scaling.h"

#include <stdbool.h>

/* What the steps of one plan share. */
struct plan {
    const struct fx_limits *limits;
    const int8_t *state;
    const double *load;
    const double *parked_s;
    int8_t *command;
    int64_t cores; /* held by all instances that the commands so far leave */
};

int fx_victim(const int8_t *state, const double *load, const int8_t *command, uint32_t slots)
{
    int chosen = -1;
    uint32_t running = 0;
    for (uint32_t slot = 0; slot < slots; slot++) {
        if (state[slot] != FX_RUNNING || command[slot] == FX_BLOCK)
            continue;
        running++;
        if (chosen < 0 || load[slot] <= load[chosen])
            chosen = (int)slot;
    }
    return running > 1 ? chosen : -1;
}

static int64_t within_limits(const struct fx_limits *limits, uint32_t type, int64_t target)
{
    if (target < limits->min_instances[type])
        target = limits->min_instances[type];
    return target > limits->max_instances[type] ? limits->max_instances[type] : target;
}

/* Reruns of draining and blocked instances, or blocks, of one type. */
static void rerun_or_block(struct plan *plan, uint32_t type, int64_t target)
{
    uint32_t slots = plan->limits->slots;
    const int8_t *state = plan->state + type * slots;
    int8_t *command = plan->command + type * slots;
    int64_t running = 0, launching = 0;
    for (uint32_t slot = 0; slot < slots; slot++) {
        running += state[slot] == FX_RUNNING;
        launching += state[slot] == FX_LAUNCHING;
    }
    int64_t missing = target - running - launching;
    for (uint32_t slot = 0; slot < slots && missing > 0; slot++) {
        if (state[slot] == FX_DRAINING || state[slot] == FX_BLOCKED) {
            command[slot] = FX_RERUN;
            missing--;
        }
    }
    for (int64_t surplus = running - target; surplus > 0; surplus--) {
        int slot = fx_victim(state, plan->load + type * slots, command, slots);
        if (slot >= 0)
            command[slot] = FX_BLOCK;
    }
}

static bool is_left_parked(const struct plan *plan, uint32_t at)
{
    return plan->state[at] == FX_BLOCKED && plan->command[at] == FX_NONE;
}

static void stop(struct plan *plan, uint32_t at)
{
    plan->command[at] = FX_STOP;
    plan->cores -= plan->limits->cores_per_instance[at / plan->limits->slots];
}

static void stop_long_parked(struct plan *plan)
{
    for (uint32_t at = 0; at < plan->limits->types * plan->limits->slots; at++)
        if (is_left_parked(plan, at) && plan->parked_s[at] >= plan->limits->park_timeout_s)
            stop(plan, at);
}

/* Stops a type's longest-parked instances beyond the spares to keep. */
static void stop_surplus_spares(struct plan *plan, uint32_t type, int64_t spares)
{
    uint32_t slots = plan->limits->slots, first = type * slots;
    int64_t surplus = -spares;
    for (uint32_t at = first; at < first + slots; at++)
        surplus += is_left_parked(plan, at);
    for (; surplus > 0; surplus--) {
        int64_t longest = -1;
        for (uint32_t at = first; at < first + slots; at++)
            if (is_left_parked(plan, at) &&
                (longest < 0 || plan->parked_s[at] > plan->parked_s[longest]))
                longest = at;
        stop(plan, (uint32_t)longest);
    }
}

/* Stops the longest-parked instance of a type other than `but`; false if there is none. */
static bool free_cores(struct plan *plan, uint32_t but)
{
    uint32_t slots = plan->limits->slots;
    int64_t best = -1;
    for (uint32_t at = 0; at < plan->limits->types * slots; at++)
        if (at / slots != but && is_left_parked(plan, at) &&
            (best < 0 || plan->parked_s[at] > plan->parked_s[best]))
            best = at;
    if (best >= 0)
        stop(plan, (uint32_t)best);
    return best >= 0;
}

/* Launches of one type; returns the wanted instances that the budget or the slots refused. */
static int64_t launch(struct plan *plan, uint32_t type, int64_t target)
{
    const struct fx_limits *limits = plan->limits;
    const int8_t *state = plan->state + type * limits->slots;
    int8_t *command = plan->command + type * limits->slots;
    int64_t cores = limits->cores_per_instance[type];
    int64_t wanted = target;
    for (uint32_t slot = 0; slot < limits->slots; slot++)
        wanted -=
            state[slot] == FX_RUNNING || state[slot] == FX_LAUNCHING || command[slot] == FX_RERUN;
    for (uint32_t slot = 0; slot < limits->slots && slot < limits->max_instances[type]; slot++) {
        if (wanted <= 0)
            break;
        if (state[slot] != FX_STOPPED)
            continue;
        while (plan->cores + cores > limits->core_budget && free_cores(plan, type))
            ;
        if (plan->cores + cores > limits->core_budget)
            break;
        command[slot] = FX_LAUNCH;
        plan->cores += cores;
        wanted--;
    }
    return wanted > 0 ? wanted : 0;
}

void fx_plan(const struct fx_limits *limits, const int64_t *targets, const int64_t *spares,
             const int8_t *state, const double *load, const double *parked_s, int8_t *command,
             int64_t *clipped)
{
    struct plan plan = {limits, state, load, parked_s, command, 0};
    for (uint32_t at = 0; at < limits->types * limits->slots; at++) {
        command[at] = FX_NONE;
        if (state[at] != FX_STOPPED)
            plan.cores += limits->cores_per_instance[at / limits->slots];
    }
    for (uint32_t type = 0; type < limits->types; type++) {
        int64_t target = within_limits(limits, type, targets[type]);
        clipped[type] = targets[type] > target ? targets[type] - target : 0;
        rerun_or_block(&plan, type, target);
    }
    stop_long_parked(&plan);
    for (uint32_t type = 0; type < limits->types; type++)
        if (spares[type] >= 0)
            stop_surplus_spares(&plan, type, spares[type]);
    for (uint32_t type = 0; type < limits->types; type++)
        clipped[type] += launch(&plan, type, within_limits(limits, type, targets[type]));
}
