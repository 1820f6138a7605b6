/*
 * Packet pools: each port has the one of its NUMA node, so that a packet is written by the device
 * and read by the workers beside it. Where there is one node there is one pool.
 */
#include <stdio.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "manager/control.h"

enum { MOST_CACHED = 512 };

static struct fx_manager *const mgr = &fx_manager;

/*
 * What waits in the caches of some workers is out of reach of the others (a cache keeps up to half
 * as much again as its size): together no more than half of a small pool.
 */
static uint32_t cache_size(void)
{
    return RTE_MIN((uint32_t)MOST_CACHED, mgr->mbufs / (3 * (mgr->workers + 1)));
}

struct rte_mempool *fx_pool_of(int socket, struct fx_error *error)
{
    char name[RTE_MEMPOOL_NAMESIZE] = "fx_packets";
    bool many = rte_socket_count() > 1;
    /* A virtual port is nowhere: its packets are touched by the workers, of whom one has lcore 1.
     */
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
