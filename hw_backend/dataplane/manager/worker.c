/* RX and TX: everything that touches a packet in the manager. */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

#include "dpdk_internals/rings.h"
#include "manager/worker.h"

enum {
    SPINS = 64,  /* passes without work before the first yield */
    YIELDS = 20, /* and before the first sleep */
    SHORTEST_SLEEP_US = 20,
    LONGEST_SLEEP_US = 500,
    BURSTS_PER_VISIT = 4, /* of one instance's transmit ring */
    PREFETCH = 16,
};

static struct fx_manager *const mgr = &fx_manager;

/* Frees packets whose way ends here, and says why. */
static void lose(struct fx_worker *w, fx_counter *cause, struct rte_mbuf **packet, uint32_t count)
{
    fx_count(cause, count);
    fx_count(&w->gone, count);
    rte_pktmbuf_free_bulk(packet, count);
}

/* --- towards instances ---------------------------------------------------------------------- */

/* A ring has crossed a mark. RX sheds packets of a chain while any of its rings is hot. */
static void set_hot(uint32_t index, bool hot)
{
    if (atomic_exchange(&mgr->hot[index], hot) == hot)
        return;
    int change = hot ? 1 : -1;
    uint16_t type = fx_type_of(index);
    atomic_fetch_add(&mgr->type_hot[type], change);
    for (uint32_t c = 0; c < mgr->config.chains; c++)
        for (uint32_t hop = 1; hop < mgr->config.chain[c].length; hop++)
            if (mgr->config.chain[c].type[hop] == type)
                atomic_fetch_add(&mgr->chain_hot[c], change);
}

static void flush_instance(struct fx_worker *w, uint32_t index)
{
    struct fx_burst *burst = &w->to_instance[index];
    struct fx_instance *to = &mgr->shared->instance[index];
    unsigned int space;
    unsigned int sent =
        rte_ring_enqueue_burst(to->receive, (void **)burst->packet, burst->count, &space);
    fx_count(&w->instance[index].arrived, burst->count);
    if (sent < burst->count)
        lose(w, &w->instance[index].ring_dropped, burst->packet + sent, burst->count - sent);
    burst->count = 0;
    uint32_t queue = rte_ring_get_capacity(to->receive) - space;
    if (queue > atomic_load_explicit(&w->instance[index].queue_peak, memory_order_relaxed))
        atomic_store_explicit(&w->instance[index].queue_peak, queue, memory_order_relaxed);
    if (queue > atomic_load_explicit(&mgr->hot_above[index], memory_order_relaxed))
        set_hot(index, true);
    fx_wake(&to->sleeping);
}

static void flush_instances(struct fx_worker *w)
{
    for (uint32_t word = 0; word < FX_MAX_INSTANCE_SLOTS / 64; word++)
        while (w->dirty[word]) {
            uint32_t bit = (uint32_t)__builtin_ctzll(w->dirty[word]);
            w->dirty[word] &= w->dirty[word] - 1;
            flush_instance(w, word * 64 + bit);
        }
}

/* Puts a packet on its way to the instance of `type` that its flow is mapped to. */
static inline void dispatch(struct fx_worker *w, struct rte_mbuf *packet, uint8_t type)
{
    const struct fx_map *map = atomic_load_explicit(&mgr->map[type], memory_order_acquire);
    int slot = fx_map(map, packet->hash.rss);
    if (unlikely(slot < 0)) {
        lose(w, &w->unmapped[type], &packet, 1);
        return;
    }
    uint32_t index = mgr->first[type] + (uint32_t)slot;
    struct fx_burst *burst = &w->to_instance[index];
    burst->packet[burst->count++] = packet;
    w->dirty[index / 64] |= 1ull << index % 64;
    if (burst->count == FX_BURST) {
        flush_instance(w, index);
        w->dirty[index / 64] &= ~(1ull << index % 64);
    }
}

/* --- towards ports -------------------------------------------------------------------------- */

static void push_to_port(struct fx_worker *w, uint32_t port, struct rte_mbuf *packet)
{
    struct fx_backlog *log = &w->to_port[port];
    if (log->count == FX_PORT_BACKLOG) {
        fx_count(&w->port[port].dropped, 1);
        rte_pktmbuf_free(packet);
        return;
    }
    log->packet[(log->head + log->count++) % FX_PORT_BACKLOG] = packet;
}

static uint32_t flush_port(struct fx_worker *w, uint32_t port)
{
    struct fx_backlog *log = &w->to_port[port];
    uint16_t queue = (uint16_t)(w->tx_share % mgr->port[port].tx_queues);
    bool shared = mgr->port[port].tx_queues < mgr->tx_workers;
    uint32_t total = 0;
    if (shared)
        rte_spinlock_lock(&mgr->port[port].tx_lock[queue]);
    while (log->count) {
        uint32_t straight = RTE_MIN(log->count, FX_PORT_BACKLOG - log->head);
        uint16_t sent = rte_eth_tx_burst(mgr->port[port].id, queue, &log->packet[log->head],
                                         (uint16_t)RTE_MIN(straight, (uint32_t)FX_BURST));
        if (sent == 0)
            break;
        log->head = (log->head + sent) % FX_PORT_BACKLOG;
        log->count -= sent;
        total += sent;
    }
    if (shared)
        rte_spinlock_unlock(&mgr->port[port].tx_lock[queue]);
    fx_count(&w->port[port].sent, total);
    return total;
}

static uint32_t flush_ports(struct fx_worker *w)
{
    uint32_t total = 0;
    for (uint32_t port = 0; port < mgr->config.ports; port++)
        if (w->to_port[port].count)
            total += flush_port(w, port);
    return total;
}

/* --- RX ------------------------------------------------------------------------------------- */

static uint8_t chain_of(struct fx_worker *w, const struct fx_flow *flow, uint16_t port)
{
    if (!mgr->flows)
        return 0;
    uint64_t fingerprint = fx_flow_fingerprint(flow);
    int known = fx_flows_find(mgr->flows, fingerprint);
    if (known != FX_FLOW_UNKNOWN) {
        fx_count(&w->flow_hits, 1);
        return (uint8_t)known;
    }
    fx_count(&w->flow_misses, 1);
    const struct fx_rules *rules = atomic_load_explicit(&mgr->rules, memory_order_acquire);
    uint8_t chain = fx_rules_match(rules, flow, port);
    if (mgr->config.install_flows)
        fx_flows_install(mgr->flows, fingerprint, chain);
    return chain;
}

static void admit(struct fx_worker *w, struct rte_mbuf *packet, uint16_t port, bool shed)
{
    struct fx_flow flow;
    enum fx_class class =
        fx_parse(rte_pktmbuf_mtod(packet, const uint8_t *), packet->data_len, &flow);
    uint8_t chain = chain_of(w, &flow, port);
    fx_count(&w->classes[class], 1);
    fx_count(&w->chain[chain].offered, 1);
    if (unlikely(shed) && atomic_load_explicit(&mgr->chain_hot[chain], memory_order_relaxed) > 0) {
        lose(w, &w->chain[chain].shed, &packet, 1);
        return;
    }
    packet->hash.rss = flow.hash;
    packet->hash.fdir.hi = chain;
    packet->port = port;
    dispatch(w, packet, mgr->config.chain[chain].type[0]);
}

static uint32_t receive_from(struct fx_worker *w, uint16_t port, bool shed)
{
    struct rte_mbuf *packet[FX_BURST];
    uint16_t count = rte_eth_rx_burst(mgr->port[port].id, (uint16_t)w->rx_queue, packet, FX_BURST);
    if (count == 0)
        return 0;
    fx_count(&w->port[port].received, count);
    fx_count(&w->taken, count);
    for (uint16_t i = 0; i < count && i < PREFETCH; i++)
        rte_prefetch0(rte_pktmbuf_mtod(packet[i], void *));
    for (uint16_t i = 0; i < count; i++) {
        if (i + PREFETCH < count)
            rte_prefetch0(rte_pktmbuf_mtod(packet[i + PREFETCH], void *));
        admit(w, packet[i], port, shed);
    }
    return count;
}

/* Packets in the chains: in rings and in NFs. */
static uint64_t under_way(void)
{
    uint64_t gone = 0, taken = 0;
    for (uint32_t i = 0; i < mgr->workers; i++)
        gone += fx_value(&mgr->worker[i]->gone); /* read first, so that it is never above taken */
    for (uint32_t i = 0; i < mgr->workers; i++)
        taken += fx_value(&mgr->worker[i]->taken);
    return taken - gone;
}

static uint32_t receive(struct fx_worker *w, enum fx_entry mode)
{
    uint32_t total = 0;
    if (atomic_load_explicit(&mgr->closed, memory_order_relaxed))
        return 0;
    if (mode == FX_ENTRY_HOLD && under_way() >= mgr->hold_window)
        return 0;
    for (uint16_t port = 0; port < mgr->config.ports; port++)
        if (w->rx_queue < mgr->port[port].rx_queues)
            total += receive_from(w, port, mode == FX_ENTRY_SHED);
    return total;
}

/* --- TX ------------------------------------------------------------------------------------- */

/* Sends a packet that an instance of `type` has handed back on its way. */
static inline void forward(struct fx_worker *w, struct rte_mbuf *packet, uint32_t index,
                           uint16_t type)
{
    uint32_t meta = packet->hash.fdir.hi, chain = FX_META_CHAIN(meta);
    if (unlikely(meta & FX_META_DROP)) {
        lose(w, &w->instance[index].nf_dropped, &packet, 1);
        return;
    }
    int next = mgr->next_type[chain][type];
    if (next >= 0) {
        dispatch(w, packet, (uint8_t)next);
        return;
    }
    fx_count(&w->chain[chain].delivered, 1);
    fx_count(&w->gone, 1);
    rte_prefetch0(rte_pktmbuf_mtod(packet, void *)); /* a port copies it in a moment */
    push_to_port(w, (uint32_t)mgr->config.port[packet->port].peer, packet);
}

static uint32_t empty_transmit_ring(struct fx_worker *w, uint32_t index, uint32_t bursts)
{
    struct rte_ring *ring = mgr->shared->instance[index].transmit;
    struct rte_mbuf *packet[FX_BURST];
    uint16_t type = fx_type_of(index);
    uint32_t total = 0;
    while (bursts-- > 0 && !rte_ring_empty(ring)) {
        uint32_t count = rte_ring_dequeue_burst(ring, (void **)packet, FX_BURST, NULL);
        for (uint32_t i = 0; i < count && i < PREFETCH; i++)
            rte_prefetch0(packet[i]);
        for (uint32_t i = 0; i < count; i++) {
            if (i + PREFETCH < count)
                rte_prefetch0(packet[i + PREFETCH]);
            forward(w, packet[i], index, type);
        }
        total += count;
    }
    return total;
}

/* --- after a death -------------------------------------------------------------------------- */

/*
 * Frees the burst that an NF was processing when it died. It has none if it died before it had
 * taken a burst out of its receive ring, or after it had put the burst into its transmit ring.
 */
static void free_in_flight(struct fx_worker *w, uint32_t index)
{
    struct fx_instance *dead = &mgr->shared->instance[index];
    bool not_received = fx_ring_was_dequeuing(dead->receive);
    bool handed_on = atomic_load(&dead->handing_on) &&
                     fx_ring_enqueued(dead->transmit) == atomic_load(&dead->transmit_tail);
    uint32_t left = not_received || handed_on ? 0 : atomic_load(&dead->burst_count);
    fx_ring_undo_dequeue(dead->receive);
    fx_ring_undo_enqueue(dead->transmit);
    rte_ring_reset(dead->messages);
    if (left > 0)
        lose(w, &w->instance[index].lost, dead->burst, left);
    atomic_store(&dead->burst_count, 0);
    atomic_store(&dead->handing_on, 0);
    atomic_store(&dead->sleeping, 0);
}

/* Packets that waited for the dead NF go to the instances that their flows are mapped to now. */
static void redistribute(struct fx_worker *w, uint32_t index)
{
    struct rte_ring *ring = mgr->shared->instance[index].receive;
    struct rte_mbuf *packet[FX_BURST];
    uint32_t count;
    empty_transmit_ring(w, index, UINT32_MAX);
    while ((count = rte_ring_dequeue_burst(ring, (void **)packet, FX_BURST, NULL)) > 0)
        for (uint32_t i = 0; i < count; i++)
            dispatch(w, packet[i], (uint8_t)fx_type_of(index));
    set_hot(index, false);
}

static void obey_reclaim(struct fx_worker *w, uint32_t index)
{
    enum fx_reclaim how = atomic_load_explicit(&mgr->reclaim[index], memory_order_acquire);
    if (how == FX_RECLAIM_NONE)
        return;
    free_in_flight(w, index);
    if (how == FX_RECLAIM_ALL)
        redistribute(w, index);
    flush_instances(w);
    atomic_store_explicit(&mgr->reclaim[index], FX_RECLAIM_NONE, memory_order_release);
}

/* False where a port takes nothing more: packets that are held back then wait in rings instead. */
static bool port_has_room(const struct fx_worker *w)
{
    for (uint32_t port = 0; port < mgr->config.ports; port++)
        if (w->to_port[port].count > FX_PORT_BACKLOG - BURSTS_PER_VISIT * FX_BURST)
            return false;
    return true;
}

static uint32_t transmit(struct fx_worker *w, enum fx_entry mode)
{
    uint32_t total = 0;
    for (uint32_t word = 0; word < FX_MAX_INSTANCE_SLOTS / 64; word++) {
        uint64_t left = atomic_load_explicit(&mgr->attached[word], memory_order_acquire);
        while (left) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(left);
            left &= left - 1;
            struct fx_instance *from = &mgr->shared->instance[index];
            if (from->worker != w->index)
                continue;
            obey_reclaim(w, index);
            if (mode != FX_ENTRY_HOLD || port_has_room(w))
                total += empty_transmit_ring(w, index, BURSTS_PER_VISIT);
            if (atomic_load_explicit(&mgr->hot[index], memory_order_relaxed) &&
                rte_ring_count(from->receive) <=
                    atomic_load_explicit(&mgr->hot_below[index], memory_order_relaxed))
                set_hot(index, false);
        }
    }
    return total;
}

/* --- the loop ------------------------------------------------------------------------------- */

static bool anything_waits(struct fx_worker *w)
{
    if (atomic_load_explicit(&mgr->quit, memory_order_relaxed))
        return true;
    if (!w->transmits)
        return false;
    for (uint32_t word = 0; word < FX_MAX_INSTANCE_SLOTS / 64; word++) {
        uint64_t left = atomic_load_explicit(&mgr->attached[word], memory_order_acquire);
        for (; left; left &= left - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(left);
            struct fx_instance *from = &mgr->shared->instance[index];
            if (from->worker == w->index &&
                (!rte_ring_empty(from->transmit) || atomic_load(&mgr->reclaim[index])))
                return true;
        }
    }
    return false;
}

/* Sleeps until an NF hands packets on, at most 500 us: ports do not wake anyone. */
static void sleep_a_little(struct fx_worker *w, uint32_t microseconds)
{
    _Atomic uint32_t *sleeping = &mgr->shared->worker[w->index].sleeping;
    atomic_store_explicit(sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with fx_wake() */
    if (!anything_waits(w))
        fx_sleep(sleeping, 1, microseconds);
    atomic_store_explicit(sleeping, 0, memory_order_seq_cst);
}

static void wait(struct fx_worker *w, uint32_t idle)
{
    if (idle < SPINS || mgr->config.busy_polling) {
        rte_pause();
    } else if (idle < SPINS + YIELDS) {
        sched_yield();
    } else {
        uint32_t doublings = RTE_MIN(idle - SPINS - YIELDS, 8u);
        sleep_a_little(
            w, RTE_MIN((uint32_t)SHORTEST_SLEEP_US << doublings, (uint32_t)LONGEST_SLEEP_US));
    }
}

static void drop_backlogs(struct fx_worker *w)
{
    for (uint32_t port = 0; port < mgr->config.ports; port++) {
        struct fx_backlog *log = &w->to_port[port];
        for (; log->count; log->count--, log->head = (log->head + 1) % FX_PORT_BACKLOG) {
            rte_pktmbuf_free(log->packet[log->head]);
            fx_count(&w->port[port].dropped, 1);
        }
    }
}

int fx_worker_main(void *argument)
{
    struct fx_worker *w = argument;
    uint32_t idle = 0;
    while (!atomic_load_explicit(&mgr->quit, memory_order_relaxed)) {
        enum fx_entry mode = atomic_load_explicit(&mgr->entry_mode, memory_order_relaxed);
        uint32_t work = 0;
        atomic_store_explicit(&w->passes, fx_value(&w->passes) + 1, memory_order_seq_cst);
        if (w->transmits)
            work += transmit(w, mode);
        if (w->receives)
            work += receive(w, mode);
        flush_instances(w);
        work += flush_ports(w);
        if (work)
            idle = 0;
        else
            wait(w, idle++);
    }
    drop_backlogs(w);
    return 0;
}

/* --- what the control thread asks of workers ------------------------------------------------ */

void fx_grace(void)
{
    uint64_t seen[FX_MAX_WORKERS];
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < mgr->workers; i++)
        seen[i] = atomic_load(&mgr->worker[i]->passes);
    /* The pauses get longer: this thread may have real-time priority on the very core that the
     * worker needs to finish its pass. */
    useconds_t pause = 20;
    for (uint32_t i = 0; i < mgr->workers; i++)
        while (atomic_load(&mgr->worker[i]->passes) == seen[i] &&
               !atomic_load(&mgr->shared->worker[i].sleeping) && !atomic_load(&mgr->quit)) {
            usleep(pause);
            pause = RTE_MIN(2 * pause, 1000u);
        }
}

void fx_set_entry(enum fx_entry entry)
{
    /* Marks as shares of a ring: above the first a ring is hot, and so it stays until it is not
     * above the second. Where nothing is shed the marks are two rings' worth, which is never
     * reached. */
    double above = entry == FX_ENTRY_SHED ? 0.8 : 2.0, below = entry == FX_ENTRY_SHED ? 0.6 : 2.0;
    for (uint32_t index = 0; index < mgr->instances; index++) {
        double size = mgr->config.type[fx_type_of(index)].ring_size;
        atomic_store(&mgr->hot_above[index], (uint32_t)(above * size));
        atomic_store(&mgr->hot_below[index], (uint32_t)(below * size));
    }
    atomic_store(&mgr->entry_mode, entry);
}

void fx_reclaim(uint32_t index, enum fx_reclaim how)
{
    struct fx_instance *instance = &mgr->shared->instance[index];
    useconds_t pause = 20;
    atomic_store_explicit(&mgr->reclaim[index], how, memory_order_release);
    fx_wake(&mgr->shared->worker[instance->worker].sleeping);
    while (atomic_load_explicit(&mgr->reclaim[index], memory_order_acquire) != FX_RECLAIM_NONE) {
        usleep(pause);
        pause = RTE_MIN(2 * pause, 1000u);
    }
}
