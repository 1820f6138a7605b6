#include "schedule.h"

#include <math.h>
#include <stdlib.h>

/* Captures whose packets all bear one time stamp still take some time a pass. */
#define CAPTURE_GAP_MIN_NS 1000.0

static uint64_t or_endless(uint64_t bound)
{
    return bound ? bound : SCHEDULE_ENDLESS;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t all_passes_ns(double pass_ns, uint64_t passes)
{
    double all = pass_ns * (double)passes;
    return passes && all < 0x1p63 ? (uint64_t)ceil(all) : SCHEDULE_ENDLESS;
}

void schedule_constant(struct schedule *schedule, double pps, uint64_t duration_ns, uint64_t count)
{
    *schedule = (struct schedule){
        .kind = SCHEDULE_CONSTANT,
        .pps = pps,
        .end_ns = or_endless(duration_ns),
        .end_count = or_endless(count),
    };
}

void schedule_unlimited(struct schedule *schedule, uint64_t duration_ns, uint64_t count)
{
    schedule_constant(schedule, 0, duration_ns, count);
    schedule->kind = SCHEDULE_UNLIMITED;
}

int schedule_trace(struct schedule *schedule, const struct trace *trace, double time_scale,
                   double rate_scale, uint64_t passes, uint64_t duration_ns, uint64_t count)
{
    double *due_before = malloc((trace->count + 1) * sizeof(*due_before));
    if (!due_before)
        return -1;
    double step_ns = trace->step_s * 1e9 / time_scale;
    due_before[0] = 0;
    for (size_t i = 0; i < trace->count; i++)
        due_before[i + 1] = due_before[i] + trace->samples[i].pps * rate_scale * step_ns / 1e9;
    double pass_ns = step_ns * (double)trace->count;
    *schedule = (struct schedule){
        .kind = SCHEDULE_TRACE,
        .trace = trace,
        .due_before = due_before,
        .step_ns = step_ns,
        .rate_scale = rate_scale,
        .pass_ns = pass_ns,
        .passes = passes,
        .end_ns = earlier(or_endless(duration_ns), all_passes_ns(pass_ns, passes)),
        .end_count = or_endless(count),
    };
    return 0;
}

void schedule_capture(struct schedule *schedule, const struct capture *capture, double time_scale,
                      uint64_t passes, uint64_t duration_ns, uint64_t count)
{
    double last = (double)capture->packets[capture->count - 1].time_ns / time_scale;
    double gap = capture->count > 1 ? last / (double)(capture->count - 1) : 0;
    double pass_ns = last + fmax(gap, CAPTURE_GAP_MIN_NS);
    *schedule = (struct schedule){
        .kind = SCHEDULE_CAPTURE,
        .capture = capture,
        .time_scale = time_scale,
        .pass_ns = pass_ns,
        .passes = passes,
        .end_ns = earlier(or_endless(duration_ns), all_passes_ns(pass_ns, passes)),
        .end_count = or_endless(count),
    };
    if (passes)
        schedule->end_count = earlier(schedule->end_count, passes * capture->count);
}

void schedule_set_rate(struct schedule *schedule, double pps, uint64_t now_ns, uint64_t sent)
{
    schedule->before =
        schedule->kind == SCHEDULE_CONSTANT ? (double)schedule_due(schedule, now_ns) : (double)sent;
    schedule->kind = SCHEDULE_CONSTANT;
    schedule->pps = pps;
    schedule->since_ns = now_ns;
}

static double due_by_trace(const struct schedule *schedule, uint64_t now_ns)
{
    size_t samples = schedule->trace->count;
    double pass = floor((double)now_ns / schedule->pass_ns);
    if (schedule->passes && pass >= (double)schedule->passes)
        return schedule->due_before[samples] * (double)schedule->passes;
    double within = (double)now_ns - pass * schedule->pass_ns;
    size_t sample = (size_t)(within / schedule->step_ns);
    if (sample >= samples)
        sample = samples - 1;
    double pps = schedule->trace->samples[sample].pps * schedule->rate_scale;
    return pass * schedule->due_before[samples] + schedule->due_before[sample] +
           pps * (within - (double)sample * schedule->step_ns) / 1e9;
}

static uint64_t due_by_capture(struct schedule *schedule, uint64_t now_ns)
{
    const struct capture *capture = schedule->capture;
    uint64_t pass = (uint64_t)((double)now_ns / schedule->pass_ns);
    if (schedule->passes && pass >= schedule->passes)
        return schedule->passes * capture->count;
    if (pass != schedule->pass) {
        schedule->pass = pass;
        schedule->cursor = 0;
    }
    double recorded = ((double)now_ns - (double)pass * schedule->pass_ns) * schedule->time_scale;
    while (schedule->cursor < capture->count &&
           (double)capture->packets[schedule->cursor].time_ns <= recorded)
        schedule->cursor++;
    return pass * capture->count + schedule->cursor;
}

uint64_t schedule_due(struct schedule *schedule, uint64_t now_ns)
{
    uint64_t until = earlier(now_ns, schedule->end_ns), due;
    switch (schedule->kind) {
    case SCHEDULE_CONSTANT:
        /* A constant rate may have been changed after the end was reached. */
        until = until > schedule->since_ns ? until - schedule->since_ns : 0;
        due = (uint64_t)(schedule->before + schedule->pps * (double)until / 1e9);
        break;
    case SCHEDULE_TRACE:
        due = (uint64_t)due_by_trace(schedule, until);
        break;
    case SCHEDULE_CAPTURE:
        due = due_by_capture(schedule, until);
        break;
    default:
        due = SCHEDULE_ENDLESS;
    }
    return earlier(due, schedule->end_count);
}

static const struct trace_sample *sample_at(const struct schedule *schedule, uint64_t now_ns)
{
    double within = fmod((double)earlier(now_ns, schedule->end_ns), schedule->pass_ns);
    size_t sample = (size_t)(within / schedule->step_ns);
    if (sample >= schedule->trace->count)
        sample = schedule->trace->count - 1;
    return &schedule->trace->samples[sample];
}

double schedule_rate(const struct schedule *schedule, uint64_t now_ns)
{
    switch (schedule->kind) {
    case SCHEDULE_CONSTANT:
        return schedule->pps;
    case SCHEDULE_TRACE:
        return sample_at(schedule, now_ns)->pps * schedule->rate_scale;
    case SCHEDULE_CAPTURE:
        return (double)schedule->capture->count * 1e9 / schedule->pass_ns;
    default:
        return INFINITY;
    }
}

uint16_t schedule_size(const struct schedule *schedule, uint64_t now_ns)
{
    return schedule->kind == SCHEDULE_TRACE ? sample_at(schedule, now_ns)->size : 0;
}

void schedule_free(struct schedule *schedule)
{
    free(schedule->due_before);
    *schedule = (struct schedule){0};
}
