/* A token bucket in TSC ticks: what paces an instance. Pure; one owner. */
#ifndef FLEXNFV_BUCKET_H
#define FLEXNFV_BUCKET_H

#include <stdint.h>

#define FX_BUCKET_DEPTH_S 0.020 /* as deep as 20 ms of the rate */

struct fx_bucket {
    double rate_pps; /* 0: unlimited */
    double tokens;   /* packets */
    uint64_t filled; /* TSC of the last refill */
};

/* Refills for the time passed; a new rate starts with an empty bucket. */
static inline void fx_bucket_fill(struct fx_bucket *bucket, double rate_pps, uint64_t tsc,
                                  double tsc_hz)
{
    if (rate_pps != bucket->rate_pps) {
        *bucket = (struct fx_bucket){.rate_pps = rate_pps, .filled = tsc};
        return;
    }
    double depth = rate_pps * FX_BUCKET_DEPTH_S;
    if (depth < 1)
        depth = 1;
    bucket->tokens += rate_pps * (double)(tsc - bucket->filled) / tsc_hz;
    if (bucket->tokens > depth)
        bucket->tokens = depth;
    bucket->filled = tsc;
}

/* How many packets may pass now, at most `wanted`. */
static inline uint16_t fx_bucket_allows(const struct fx_bucket *bucket, uint16_t wanted)
{
    return bucket->tokens < wanted ? (uint16_t)bucket->tokens : wanted;
}

static inline void fx_bucket_take(struct fx_bucket *bucket, uint16_t packets)
{
    bucket->tokens -= packets;
}

#endif
