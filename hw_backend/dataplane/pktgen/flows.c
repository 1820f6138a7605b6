#include "flows.h"

#include <math.h>
#include <stdlib.h>

#define GOLDEN              0x9E3779B97F4A7C15ull
#define SOURCE_NETWORK      (198u << 24 | 18u << 16)
#define DESTINATION_NETWORK (198u << 24 | 19u << 16)

/* Keeps the draws apart from the addresses, which use the seed itself. */
#define DRAWS_SEED 0xD1B54A32D192ED03ull

uint64_t splitmix64(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * GOLDEN;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

struct five_tuple flow_tuple(uint64_t seed, uint32_t flow)
{
    uint64_t a = splitmix64(seed, 2 * (uint64_t)flow);
    uint64_t b = splitmix64(seed, 2 * (uint64_t)flow + 1);
    return (struct five_tuple){
        .src_ip = SOURCE_NETWORK | (a & 0xFFFF),
        .dst_ip = DESTINATION_NETWORK | (a >> 16 & 0xFFFF),
        .src_port = 1024 + ((a >> 32 & 0xFFFF) * 64512 >> 16),
        .dst_port = 1 + ((b & 0xFFFF) * 49151 >> 16),
    };
}

uint16_t flow_fold(const struct five_tuple *tuple)
{
    uint32_t addresses = tuple->src_ip ^ tuple->dst_ip;
    return (addresses >> 16) ^ (addresses & 0xFFFF) ^ tuple->src_port ^ tuple->dst_port;
}

static void fill_alias_table(struct picker *picker, double *share, uint32_t *work)
{
    /* `work` holds the slots below an even share from the front, the others from the back. */
    uint32_t count = picker->count, poor = 0, rich = count;
    for (uint32_t i = 0; i < count; i++)
        work[share[i] < 1.0 ? poor++ : --rich] = i;
    while (poor > 0 && rich < count) {
        uint32_t low = work[--poor], high = work[rich];
        picker->threshold[low] = (uint32_t)(share[low] * 0x1p32);
        picker->alias[low] = high;
        share[high] -= 1.0 - share[low];
        if (share[high] < 1.0) {
            rich++;
            work[poor++] = high;
        }
    }
    /* What is left is an even share but for rounding. */
    while (poor > 0) {
        poor--;
        picker->alias[work[poor]] = work[poor];
    }
    while (rich < count) {
        picker->alias[work[rich]] = work[rich];
        rich++;
    }
}

int picker_init(struct picker *picker, uint32_t count, double zipf, uint64_t seed)
{
    *picker = (struct picker){.count = count, .seed = seed ^ DRAWS_SEED};
    picker->threshold = calloc(count, sizeof(*picker->threshold));
    picker->alias = calloc(count, sizeof(*picker->alias));
    double *share = malloc(count * sizeof(*share));
    uint32_t *work = malloc(count * sizeof(*work));
    if (!picker->threshold || !picker->alias || !share || !work) {
        free(share);
        free(work);
        picker_free(picker);
        return -1;
    }
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += share[i] = pow(i + 1.0, -zipf);
    for (uint32_t i = 0; i < count; i++)
        share[i] *= count / sum;
    fill_alias_table(picker, share, work);
    free(share);
    free(work);
    return 0;
}

uint32_t picker_next(struct picker *picker)
{
    uint64_t word = splitmix64(picker->seed, picker->draws++);
    uint32_t slot = (word >> 32) * picker->count >> 32;
    return (uint32_t)word < picker->threshold[slot] ? slot : picker->alias[slot];
}

void picker_free(struct picker *picker)
{
    free(picker->threshold);
    free(picker->alias);
    *picker = (struct picker){0};
}
