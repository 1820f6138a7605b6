/* Latencies in nanoseconds, log-linear: 64 buckets an octave, so a figure is at most 1.6 % off. */
#ifndef PKTGEN_HISTOGRAM_H
#define PKTGEN_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_OCTAVES  42 /* up to 2^47 ns, the span of a probe's time stamp */
#define HISTOGRAM_BUCKETS  (HISTOGRAM_OCTAVES << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t total;
    uint64_t max;
    uint64_t sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value below which a share of `quantile` (0 to 1) of the samples lies; 0 when there are none.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
