/*
 * Packet pools: each port has the one of its NUMA node, so that a packet is written by the device
 * and read by the workers beside it. Where there is one node there is one pool.
 */
#ifndef FLEXNFV_POOLS_H
#define FLEXNFV_POOLS_H

#include <stdint.h>

#include <rte_mempool.h>

#include "manager/log.h"

/* The pool of a port on that NUMA node (-1: it is on none); NULL with the reason. */
struct rte_mempool *fx_pool_of(int socket, struct fx_error *error);

/* Packets of all pools, and those of them that nobody holds. */
void fx_pools_count(uint32_t *all, uint32_t *free);

#endif
