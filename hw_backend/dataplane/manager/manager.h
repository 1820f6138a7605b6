/*
 * The manager's own state. Workers (RX, TX) own packets and the counters in struct fx_worker; the
 * control thread (Status and Scaling) owns everything else, and hands workers what they look at
 * through the atomics below.
 */
#ifndef FLEXNFV_MANAGER_H
#define FLEXNFV_MANAGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mempool.h>
#include <rte_spinlock.h>

#include "common/mapping.h"
#include "manager/config.h"
#include "manager/flows.h"
#include "shared/shared.h"

#define FX_PORT_BACKLOG 1024 /* packets that wait for a port that is full */

struct fx_burst {
    uint16_t count;
    struct rte_mbuf *packet[FX_BURST];
};

struct fx_backlog {
    uint32_t head, count; /* a ring buffer */
    struct rte_mbuf *packet[FX_PORT_BACKLOG];
};

/* Counters have one writer, the worker; the control thread reads them any time. */
typedef _Atomic uint64_t fx_counter;

static inline void fx_count(fx_counter *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

static inline uint64_t fx_value(fx_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct fx_worker {
    uint32_t index;
    uint32_t lcore;
    bool receives, transmits;
    uint32_t rx_queue;       /* of every port that has as many */
    uint32_t tx_share;       /* which of config.tx_workers shares of the instances it empties */
    _Atomic uint64_t passes; /* of its loop; a pass puts every packet that it took somewhere */
    struct {
        fx_counter arrived, ring_dropped, nf_dropped, lost;
        _Atomic uint32_t queue_peak; /* the control thread sets it to 0 */
    } instance[FX_MAX_INSTANCE_SLOTS];
    fx_counter unmapped[FX_MAX_TYPES];
    struct {
        fx_counter offered, delivered, shed;
    } chain[FX_MAX_CHAINS];
    struct {
        fx_counter received, sent, dropped;
    } port[FX_MAX_PORTS];
    fx_counter classes[FX_CLASSES];
    fx_counter flow_hits, flow_misses;
    fx_counter taken, gone; /* packets: from ports, and freed or handed to ports */
    fx_counter shutdown_dropped;
    uint64_t dirty[FX_MAX_INSTANCE_SLOTS / 64]; /* bursts that wait in to_instance */
    struct fx_burst to_instance[FX_MAX_INSTANCE_SLOTS];
    struct fx_backlog to_port[FX_MAX_PORTS];
};

/* What a worker takes back from a process that ended: its burst in flight, or its rings too. */
enum fx_reclaim { FX_RECLAIM_NONE, FX_RECLAIM_BURST, FX_RECLAIM_ALL };

/* What the control thread knows of an instance slot, beside what its NF shares. */
struct fx_instance_state {
    uint8_t state;
    uint8_t start_kind;
    bool keep_mapped; /* died as the last of its type: its ring waits for the next process */
    bool stop_when_drained;
    bool stopping; /* told to stop */
    int process;   /* slot of its process, -1: none */
    int cpu;
    uint32_t sent; /* messages, its generation's */
    uint32_t launches, reruns, deaths;
    uint64_t state_since_ns, command_ns, mapped_ns, parked_at_ns;
    uint64_t still_ns;    /* told to stop: for how long it has served nothing */
    uint64_t seen_served; /* when last looked at for that */
    uint64_t retry_ns;    /* a launch that failed is not tried again before */
    double processing_ns; /* measured */
    double load;          /* erlangs, since the last decision */
};

struct fx_type_state {
    uint16_t target;
    enum fx_mapping_kind mapping;
    int32_t spares; /* parked instances that the last decision keeps, -1: all */
    double pace_pps;
    uint64_t launches, spare_launches, reruns, blocks, stops, deaths, failed_launches, clipped;
    uint64_t joined_ns, remappings;
    double flows_moved;
    char last_failure[FX_REASON_LENGTH];
};

struct fx_manager {
    struct fx_config config;
    struct fx_shared *shared;
    struct rte_mempool *pool[RTE_MAX_NUMA_NODES]; /* of the ports there; NULL: no port */
    uint32_t workers, rx_workers, tx_workers;
    struct fx_worker *worker[FX_MAX_WORKERS];
    uint32_t instances;           /* slots of all types together */
    uint16_t first[FX_MAX_TYPES]; /* index of each type's slot 0 */
    uint32_t mbufs;               /* of one pool */
    uint32_t hold_window; /* packets under way that fit into any one ring, whoever falls behind */
    int8_t next_type[FX_MAX_CHAINS][FX_MAX_TYPES]; /* after this type in this chain; -1: a port */

    struct {
        uint16_t id;
        uint16_t rx_queues, tx_queues;
        bool drops_unbuffered; /* rx_nombuf of its driver counts packets lost */
        char name[FX_NAME_LENGTH];
        rte_spinlock_t tx_lock[FX_MAX_WORKERS]; /* taken where workers share a queue */
    } port[FX_MAX_PORTS];

    /* control thread to workers */
    _Atomic(struct fx_map *) map[FX_MAX_TYPES];
    _Atomic(struct fx_rules *) rules;
    _Atomic uint64_t attached[FX_MAX_INSTANCE_SLOTS / 64]; /* whose transmit ring is emptied */
    _Atomic uint8_t reclaim[FX_MAX_INSTANCE_SLOTS]; /* enum fx_reclaim; the worker sets it back */
    _Atomic uint32_t entry_mode;                    /* enum fx_entry */
    _Atomic uint32_t hot_above[FX_MAX_INSTANCE_SLOTS]; /* packets */
    _Atomic uint32_t hot_below[FX_MAX_INSTANCE_SLOTS];
    _Atomic bool closed; /* RX takes no packets: not all types have an instance yet, or the end */
    _Atomic bool quit;

    /* workers among themselves: rings above their high mark */
    _Atomic uint8_t hot[FX_MAX_INSTANCE_SLOTS];
    _Atomic int32_t type_hot[FX_MAX_TYPES];
    _Atomic int32_t chain_hot[FX_MAX_CHAINS]; /* hot rings behind the chain's first type */

    struct fx_flow_table *flows; /* NULL: one chain, no rules */
    int event_fd;                /* wakes the control thread */

    /* control thread alone */
    struct fx_instance_state instance[FX_MAX_INSTANCE_SLOTS];
    struct fx_type_state type[FX_MAX_TYPES];
    uint64_t started_ns;
};

extern struct fx_manager fx_manager;

/* An instance is known everywhere by its index: those of type 0 come first, by slot. */
static inline uint32_t fx_index_of(uint32_t type, uint32_t slot)
{
    return fx_manager.first[type] + slot;
}

static inline uint16_t fx_type_of(uint32_t index)
{
    return fx_manager.shared->instance[index].type;
}

/* Sum of one counter over the workers. */
#define FX_SUM(field)                                                                              \
    ({                                                                                             \
        uint64_t sum_ = 0;                                                                         \
        for (uint32_t w_ = 0; w_ < fx_manager.workers; w_++)                                       \
            sum_ += fx_value(&fx_manager.worker[w_]->field);                                       \
        sum_;                                                                                      \
    })

#endif
