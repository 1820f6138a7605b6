/*
 * What a process that died in the middle of a burst has left of its ends of rings. It moves a head
 * first and a tail last: where the two differ, the burst counts as not moved. Only for rings whose
 * end in question has a single user, and that is dead.
 */
#ifndef FLEXNFV_RINGS_H
#define FLEXNFV_RINGS_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ring.h>

/* Whether its consumer was about to take a burst out. */
static inline bool fx_ring_was_dequeuing(const struct rte_ring *ring)
{
    return ring->cons.head != ring->cons.tail;
}

static inline void fx_ring_undo_dequeue(struct rte_ring *ring)
{
    ring->cons.head = ring->cons.tail;
}

static inline void fx_ring_undo_enqueue(struct rte_ring *ring)
{
    ring->prod.head = ring->prod.tail;
}

/* Behind the newest packet that is whole in the ring. */
static inline uint32_t fx_ring_enqueued(const struct rte_ring *ring)
{
    return ring->prod.tail;
}

#endif
