/*
 * The Scaling thread's part: decisions, a controller's or the built-in law's, become commands
 * (common/scaling.h says which). Who decides is noted here.
 */
#ifndef FLEXNFV_DECISIONS_H
#define FLEXNFV_DECISIONS_H

#include "manager/manager.h"

struct fx_control_state {
    enum fx_control control;
    bool law; /* whether the built-in law may decide */
    uint64_t heartbeats, last_heartbeat_ns, decisions, law_decisions, takeovers, refused;
};

extern struct fx_control_state fx_control;

void fx_decisions_init(void);

/* A controller is there. */
void fx_heartbeat(uint64_t now);

/* 0 if every value is one that a type can have; -1 with the reason. */
int fx_check_decision(const struct fx_decision *decision, struct fx_error *error);

/* Carries out a decision that was checked. clipped: what limits and budget refused, per type. */
void fx_decide(const struct fx_decision *decision, int32_t *clipped);

/* What is measured of every instance, as rows for common/: [types][fx_row_length()]. */
struct fx_rows {
    int8_t state[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double load[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double parked_s[FX_MAX_TYPES * FX_MAX_INSTANCES];
    double queue[FX_MAX_TYPES * FX_MAX_INSTANCES];
};

uint32_t fx_row_length(void);

/* Loads are over the time since the last decision or fx_measure(). */
void fx_measure(uint64_t now);
void fx_gather(struct fx_rows *rows, uint64_t now);

#endif
