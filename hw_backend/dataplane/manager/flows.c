#include "manager/flows.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 1 << 14, WAYS = 8, CHAIN_BITS = 8, AGE_BITS = 8, TAG_BITS = 48 };

struct fx_flow_table {
    _Atomic uint8_t now;
    _Atomic uint64_t entry[SETS][WAYS]; /* tag | chain | age; 0: free */
};

struct fx_flow_table *fx_flows_create(void)
{
    struct fx_flow_table *table = aligned_alloc(64, (sizeof(*table) + 63) / 64 * 64);
    if (table)
        memset(table, 0, sizeof(*table));
    return table;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    return x ^ x >> 32;
}

static uint64_t endpoint(const uint8_t *address, uint16_t port)
{
    uint64_t high, low;
    memcpy(&high, address, 8);
    memcpy(&low, address + 8, 8);
    return mix(mix(mix(high) ^ low) + port);
}

uint64_t fx_flow_fingerprint(const struct fx_flow *flow)
{
    uint64_t ends = endpoint(flow->src, flow->sport) + endpoint(flow->dst, flow->dport);
    return mix(ends ^
               ((uint64_t)flow->proto << 24 | (uint64_t)flow->ip_version << 16 | flow->ethertype));
}

static uint64_t tag_of(uint64_t fingerprint)
{
    uint64_t tag = fingerprint >> (64 - TAG_BITS);
    return tag ? tag : 1; /* 0 marks a free entry */
}

static _Atomic uint64_t *set_of(struct fx_flow_table *table, uint64_t fingerprint)
{
    return table->entry[fingerprint % SETS];
}

static uint64_t pack(uint64_t tag, uint8_t chain, uint8_t age)
{
    return tag << (CHAIN_BITS + AGE_BITS) | (uint64_t)chain << AGE_BITS | age;
}

int fx_flows_find(struct fx_flow_table *table, uint64_t fingerprint)
{
    _Atomic uint64_t *set = set_of(table, fingerprint);
    uint64_t tag = tag_of(fingerprint);
    uint8_t now = atomic_load_explicit(&table->now, memory_order_relaxed);
    for (int way = 0; way < WAYS; way++) {
        uint64_t entry = atomic_load_explicit(&set[way], memory_order_relaxed);
        if (entry >> (CHAIN_BITS + AGE_BITS) != tag)
            continue;
        uint8_t chain = (uint8_t)(entry >> AGE_BITS);
        /* The age is renewed, unless another worker has changed the entry meanwhile. */
        if ((uint8_t)entry != now)
            atomic_compare_exchange_strong_explicit(&set[way], &entry, pack(tag, chain, now),
                                                    memory_order_relaxed, memory_order_relaxed);
        return chain;
    }
    return FX_FLOW_UNKNOWN;
}

void fx_flows_install(struct fx_flow_table *table, uint64_t fingerprint, uint8_t chain)
{
    _Atomic uint64_t *set = set_of(table, fingerprint);
    uint8_t now = atomic_load_explicit(&table->now, memory_order_relaxed);
    int oldest = 0, oldest_age = -1;
    for (int way = 0; way < WAYS; way++) {
        uint64_t entry = atomic_load_explicit(&set[way], memory_order_relaxed);
        int age = entry ? (uint8_t)(now - (uint8_t)entry) : 256;
        if (age > oldest_age) {
            oldest = way;
            oldest_age = age;
        }
    }
    atomic_store_explicit(&set[oldest], pack(tag_of(fingerprint), chain, now),
                          memory_order_relaxed);
}

void fx_flows_age(struct fx_flow_table *table)
{
    atomic_fetch_add_explicit(&table->now, 1, memory_order_relaxed);
}

void fx_flows_clear(struct fx_flow_table *table)
{
    for (int set = 0; set < SETS; set++)
        for (int way = 0; way < WAYS; way++)
            atomic_store_explicit(&table->entry[set][way], 0, memory_order_relaxed);
}
