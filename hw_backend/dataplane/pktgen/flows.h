/*
 * The flow set: which 5-tuples are sent and how often. The derivation is written down in
 * flexnfv/flows.py, which computes the same set; both must change together.
 */
#ifndef PKTGEN_FLOWS_H
#define PKTGEN_FLOWS_H

#include <stdint.h>

#define FLOWS_MAX (1u << 20)
#define ZIPF_MAX  10.0

struct five_tuple {
    uint32_t src_ip; /* all in host order; the protocol is UDP */
    uint32_t dst_ip;
    uint16_t src_port;
    uint16_t dst_port;
};

/* Word `index` of the splitmix64 stream that starts at `seed`. */
uint64_t splitmix64(uint64_t seed, uint64_t index);

/* The 5-tuple of flow `flow` of the set with this seed. */
struct five_tuple flow_tuple(uint64_t seed, uint32_t flow);

/* The XOR of the tuple's 16-bit words, which is all that the symmetric hash depends on. */
uint16_t flow_fold(const struct five_tuple *tuple);

/* Draws flows by popularity: Walker's alias method (Vose, IEEE TSE 1991), two reads a draw. */
struct picker {
    uint32_t count;
    uint64_t seed;
    uint64_t draws;
    uint32_t *threshold; /* of 2^32: below it the drawn slot itself, else its alias */
    uint32_t *alias;
};

/* Sets up draws with probability proportional to (flow + 1)^-zipf; -1 when memory is short. */
int picker_init(struct picker *picker, uint32_t count, double zipf, uint64_t seed);
uint32_t picker_next(struct picker *picker);
void picker_free(struct picker *picker);

#endif
