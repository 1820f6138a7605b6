/* The sending side: builds packets of the flow set or of a capture and gives them to a port. */
#ifndef PKTGEN_TX_H
#define PKTGEN_TX_H

#include "capture.h"
#include "flows.h"
#include "options.h"

#include <rte_mbuf.h>
#include <stdint.h>

#define TX_BURST 64

struct flow_header;

struct sender {
    uint16_t port;
    struct rte_mempool *pool;
    const struct capture *capture; /* NULL for the flow set */
    struct flow_header *headers;   /* [flow] */
    struct picker picker;
    bool imix;
    uint16_t stream;
    uint64_t built;
    uint64_t sent;
    uint64_t sent_bytes;
    uint32_t pending_count;
    struct rte_mbuf *pending[TX_BURST]; /* built, not yet taken by the port */
};

/* `capture` is NULL for the flow set. -1 if memory is short. */
int sender_init(struct sender *sender, const struct options *options, const struct capture *capture,
                uint16_t port, struct rte_mempool *pool);

/* Begins a new stream: numbers and counts start at 0 again. */
void sender_restart(struct sender *sender, uint16_t stream);

/* Sends up to `wanted` packets of `size` bytes with FCS (captures keep their own), fewer when the
 * port takes no more. Returns how many it took. */
uint64_t sender_send(struct sender *sender, uint64_t wanted, uint16_t size, uint64_t now_ns);

/* Offers the port once more what it has not taken. */
void sender_flush(struct sender *sender);

/* Gives up what the port has not taken. */
void sender_drop_pending(struct sender *sender);
void sender_free(struct sender *sender);

#endif
