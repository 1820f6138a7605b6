/*
 * What happened to the packets of each flow, from their sequence numbers: lost, out of order,
 * twice. A packet is out of order when its number is below the next one expected (RFC 4737 section
 * 3).
 */
#ifndef PKTGEN_TRACKER_H
#define PKTGEN_TRACKER_H

#include <stdint.h>

struct tracker {
    uint32_t flows;
    uint32_t window;  /* packets of a flow remembered for telling late ones from duplicates */
    uint32_t *next;   /* [flow] next number expected; numbers wrap at 2^32 */
    uint64_t *seen;   /* [flow][window / 64] bitmap */
    uint64_t unique;  /* packets, duplicates not counted */
    uint64_t missing; /* numbers skipped so far and not seen since */
    uint64_t reordered;
    uint64_t duplicates;
    uint64_t too_late; /* of `reordered`: older than the window, so a duplicate would not show */
};

/* Sets the tracker up for flows 0 .. flows - 1, each starting at number 0; -1 if memory is short.
 */
int tracker_init(struct tracker *tracker, uint32_t flows);
void tracker_clear(struct tracker *tracker);
void tracker_see(struct tracker *tracker, uint32_t flow, uint32_t number);
void tracker_free(struct tracker *tracker);

#endif
