#include "manager/pools.h"

#include <stdio.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "manager/manager.h"

enum { MOST_CACHED = 512 };

static struct fx_manager *const mgr = &fx_manager;

/*
 * Packets in one worker's cache are out of reach of the other workers, and a cache keeps up to half
 * as much again as its size. So all caches together take at most half of a small pool.
 */
static uint32_t cache_size(void)
{
    return RTE_MIN((uint32_t)MOST_CACHED, mgr->mbufs / (3 * (mgr->workers + 1)));
}

struct rte_mempool *fx_pool_of(int socket, struct fx_error *error)
{
    char name[RTE_MEMPOOL_NAMESIZE] = "fx_packets";
    bool many = rte_socket_count() > 1;
    /* A virtual port is on no node: the pool is then on the node of the first worker, lcore 1. */
    int node = !many ? 0 : socket >= 0 ? socket : (int)rte_lcore_to_socket_id(1);
    if (mgr->pool[node])
        return mgr->pool[node];
    if (many)
        snprintf(name, sizeof(name), "fx_packets_%d", node);
    mgr->pool[node] = rte_pktmbuf_pool_create(
        name, mgr->mbufs, cache_size(), 0,
        (uint16_t)(mgr->config.mbuf_bytes + RTE_PKTMBUF_HEADROOM), many ? node : SOCKET_ID_ANY);
    if (!mgr->pool[node])
        fx_fail(error, "no memory for %u packets on NUMA node %d: %s", mgr->mbufs, node,
                rte_strerror(rte_errno));
    return mgr->pool[node];
}

void fx_pools_count(uint32_t *all, uint32_t *free)
{
    *all = *free = 0;
    for (int node = 0; node < RTE_MAX_NUMA_NODES; node++)
        if (mgr->pool[node]) {
            *all += mgr->mbufs;
            *free += rte_mempool_avail_count(mgr->pool[node]);
        }
}
