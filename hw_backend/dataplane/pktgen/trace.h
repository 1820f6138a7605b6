/*
 * Rate traces: a CSV file with the header `t_s,pps` or `t_s,pps,packet_bytes`, one sample a line,
 * in order and evenly spaced. A rate (packets/s) holds from its sample to the next, the last one
 * for as long as the others; packets are of `packet_bytes`, rounded, FCS included. Times count from
 * the first sample.
 */
#ifndef PKTGEN_TRACE_H
#define PKTGEN_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ERROR_MAX     512
#define TRACE_PPS_MAX 1e9

struct trace_sample {
    double pps;
    uint16_t size; /* 0 where the file has no sizes */
};

struct trace {
    size_t count;
    double step_s;
    double peak_pps;
    uint16_t largest; /* size; 0 where the file has no sizes */
    struct trace_sample *samples;
};

/* Reads `path`; -1 with a one-line reason in `error` when it cannot be used. */
int trace_read(struct trace *trace, const char *path, char error[ERROR_MAX]);
void trace_free(struct trace *trace);

#endif
