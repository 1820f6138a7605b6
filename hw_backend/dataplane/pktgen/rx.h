/* The receiving side: takes packets off a port and measures them. */
#ifndef PKTGEN_RX_H
#define PKTGEN_RX_H

#include "decrypt.h"
#include "histogram.h"
#include "options.h"
#include "tracker.h"
#include "writer.h"

#include <stdbool.h>
#include <stdint.h>

#define RX_BURST 64

struct receiver {
    uint16_t port;
    bool any_packet; /* captures: whatever comes counts as delivered */
    bool any_stream; /* sink: takes the first stream that it sees */
    bool stream_known;
    uint16_t stream;
    uint64_t received;
    uint64_t received_bytes; /* without FCS */
    uint64_t unreadable;     /* of the flow set's networks, but without a readable probe */
    uint64_t foreign;        /* everything else: other hosts, earlier streams */
    struct tracker tracker;
    struct histogram latency; /* of the run so far, without the period under way */
    struct histogram period_latency;
    struct decrypter *decrypter; /* NULL where no key was given */
    struct writer *writer;       /* NULL where nothing is kept */
};

/* -1 if memory is short. */
int receiver_init(struct receiver *receiver, const struct options *options, uint16_t port,
                  struct writer *writer);

/* Begins a new stream with all counts 0; a sink takes whichever comes. */
void receiver_restart(struct receiver *receiver, uint16_t stream);

/* Takes what has arrived, up to `bursts` bursts, and returns the number of packets. */
uint32_t receiver_poll(struct receiver *receiver, uint32_t bursts);

/* Packets that came back, each counted once as far as can be told. */
uint64_t receiver_delivered(const struct receiver *receiver);

/* Moves the period's latencies into the run's. */
void receiver_end_period(struct receiver *receiver);
void receiver_free(struct receiver *receiver);

#endif
