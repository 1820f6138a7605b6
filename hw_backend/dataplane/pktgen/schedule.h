/*
 * How many packets are due by a moment. A pure function of time since the start, so that pacing
 * never drifts: what one tick sends late, the next makes up for.
 */
#ifndef PKTGEN_SCHEDULE_H
#define PKTGEN_SCHEDULE_H

#include "capture.h"
#include "trace.h"

#include <stdbool.h>
#include <stdint.h>

#define SECOND_NS        1000000000ull
#define SCHEDULE_ENDLESS UINT64_MAX

enum schedule_kind {
    SCHEDULE_CONSTANT,  /* `pps` */
    SCHEDULE_UNLIMITED, /* as fast as the port takes them */
    SCHEDULE_TRACE,     /* the rate of a trace */
    SCHEDULE_CAPTURE,   /* the recorded times of a capture */
};

struct schedule {
    enum schedule_kind kind;
    double pps; /* CONSTANT: rate since `since_ns`, when `before` packets were due */
    uint64_t since_ns;
    double before;
    const struct trace *trace;
    double *due_before; /* TRACE: [sample + 1] packets due before each, in one pass */
    double step_ns;     /* TRACE: length of a sample after time scaling */
    double rate_scale;
    const struct capture *capture;
    double time_scale;  /* CAPTURE: recorded seconds per second */
    double pass_ns;     /* TRACE, CAPTURE: length of one pass */
    uint64_t passes;    /* 0: for ever */
    size_t cursor;      /* CAPTURE: packets due in the pass under way */
    uint64_t pass;      /* CAPTURE: the pass that `cursor` belongs to */
    uint64_t end_ns;    /* no packet is due later; SCHEDULE_ENDLESS for none */
    uint64_t end_count; /* no more packets than this; SCHEDULE_ENDLESS for none */
};

/* `duration_ns` and `count` bound every kind; 0 for no bound. */
void schedule_constant(struct schedule *schedule, double pps, uint64_t duration_ns, uint64_t count);
void schedule_unlimited(struct schedule *schedule, uint64_t duration_ns, uint64_t count);

/* Plays `time_scale` recorded seconds a second at `rate_scale` times the rate, `passes` times
 * (0: for ever). -1 if memory is short. The trace or capture must outlive the schedule. */
int schedule_trace(struct schedule *schedule, const struct trace *trace, double time_scale,
                   double rate_scale, uint64_t passes, uint64_t duration_ns, uint64_t count);
void schedule_capture(struct schedule *schedule, const struct capture *capture, double time_scale,
                      uint64_t passes, uint64_t duration_ns, uint64_t count);

/* Changes the rate of a CONSTANT or UNLIMITED schedule from `now_ns` on, when `sent` packets were.
 */
void schedule_set_rate(struct schedule *schedule, double pps, uint64_t now_ns, uint64_t sent);

/* Packets due by `now_ns` since the start. Times may not step back. */
uint64_t schedule_due(struct schedule *schedule, uint64_t now_ns);

/* Wanted rate (packets/s) and frame size (0: not set here) around `now_ns`. */
double schedule_rate(const struct schedule *schedule, uint64_t now_ns);
uint16_t schedule_size(const struct schedule *schedule, uint64_t now_ns);

void schedule_free(struct schedule *schedule);

#endif
