#include "manager/memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_memzone.h>
#include <rte_ring.h>

#include "manager/manager.h"

enum {
    TRANSMIT_RING = 4096,
    PORT_MBUFS = 4096, /* what one port's queues may hold */
    SPARE_MBUFS = 8192,
    FULL_RINGS = 4, /* of each type at once; an NF maps all of it, which takes its start's time */
    PACKET_BYTES = 192,  /* that DPDK's pool adds to each packet */
    DPDK_MEGABYTES = 48, /* for DPDK's own structs */
};

static struct fx_manager *const mgr = &fx_manager;

uint32_t fx_memory_plan(void)
{
    uint64_t rings = 0, mbufs = SPARE_MBUFS + (uint64_t)PORT_MBUFS * mgr->config.ports;
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        const struct fx_type_config *type = &mgr->config.type[t];
        rings += (uint64_t)type->max_instances * (type->ring_size + TRANSMIT_RING) * sizeof(void *);
        mbufs += (uint64_t)RTE_MIN(type->max_instances, (uint32_t)FULL_RINGS) * type->ring_size;
    }
    if (mgr->config.mbufs)
        mbufs = mgr->config.mbufs;
    mgr->mbufs = (uint32_t)RTE_MIN(mbufs, (uint64_t)FX_MOST_MBUFS);
    uint64_t bytes = (uint64_t)mgr->mbufs * (sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM +
                                             mgr->config.mbuf_bytes + PACKET_BYTES);
    return (uint32_t)((bytes + rings + sizeof(struct fx_shared)) >> 20) + DPDK_MEGABYTES;
}

static struct rte_ring *ring(const char *kind, uint32_t index, uint32_t size, unsigned int flags)
{
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof(name), "fx_%s_%u", kind, index);
    return rte_ring_create(name, size, SOCKET_ID_ANY, flags);
}

static int make_instance(uint32_t index, uint32_t type, uint32_t slot, struct fx_error *error)
{
    struct fx_instance *instance = &mgr->shared->instance[index];
    uint32_t first_tx = mgr->workers - mgr->tx_workers;
    instance->type = (uint16_t)type;
    instance->slot = (uint16_t)slot;
    instance->worker = (uint16_t)(first_tx + index % mgr->tx_workers);
    /* Of the manager's workers several may feed an instance; the NF's side is always one. */
    instance->receive = ring("rx", index, mgr->config.type[type].ring_size,
                             RING_F_SC_DEQ | (mgr->workers == 1 ? RING_F_SP_ENQ : 0));
    instance->transmit = ring("tx", index, TRANSMIT_RING, RING_F_SP_ENQ | RING_F_SC_DEQ);
    instance->messages = ring("msg", index, FX_MESSAGES, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (!instance->receive || !instance->transmit || !instance->messages)
        return fx_fail(error, "no memory for the rings of %s", mgr->config.type[type].name);
    return 0;
}

/* What NFs must know of the configuration. */
static void share_configuration(void)
{
    struct fx_shared *shared = mgr->shared;
    const struct fx_config *config = &mgr->config;
    shared->busy_polling = config->busy_polling;
    shared->replicas = config->replicas;
    shared->types = config->types;
    shared->chains = config->chains;
    for (uint32_t t = 0; t < config->types; t++) {
        memcpy(shared->type[t].name, config->type[t].name, FX_NAME_LENGTH);
        memcpy(shared->type[t].function, config->type[t].function, FX_NAME_LENGTH);
        memcpy(shared->type[t].args, config->type[t].args, FX_ARGS_LENGTH);
    }
    for (uint32_t c = 0; c < config->chains; c++) {
        shared->chain[c].length = config->chain[c].functions;
        memcpy(shared->chain[c].type, config->chain[c].function, FX_MAX_CHAIN_LENGTH);
    }
}

int fx_memory_init(struct fx_error *error)
{
    const struct rte_memzone *zone =
        rte_memzone_reserve_aligned(FX_MEMZONE, sizeof(*mgr->shared), SOCKET_ID_ANY, 0, 64);
    if (!zone)
        return fx_fail(error, "no memory for the shared structs");
    mgr->shared = zone->addr;
    memset(mgr->shared, 0, sizeof(*mgr->shared));
    mgr->shared->abi_version = FX_ABI_VERSION;
    mgr->shared->size = sizeof(*mgr->shared);
    mgr->shared->manager_pid = getpid();
    mgr->shared->tsc_hz = rte_get_tsc_hz();
    share_configuration();
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        mgr->first[t] = (uint16_t)mgr->instances;
        for (uint32_t slot = 0; slot < mgr->config.type[t].max_instances; slot++)
            if (make_instance(mgr->instances++, t, slot, error) != 0)
                return -1;
    }
    mgr->shared->magic = FX_MAGIC;
    if (mgr->config.rules.count > 0 || mgr->config.chains > 1) {
        mgr->flows = fx_flows_create();
        if (!mgr->flows)
            return fx_fail(error, "no memory for the flow table");
    }
    atomic_store(&mgr->rules, &mgr->config.rules);
    return 0;
}
