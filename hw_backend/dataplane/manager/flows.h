/*
 * The flow table: which chain a known flow belongs to, both directions of a connection together.
 * A set of eight entries is one cache line; the oldest makes room for a new flow, so the table is
 * never full. An entry is one atomic word (48 bits of a 64-bit fingerprint, chain, age), shared by
 * all RX threads without a lock. Two flows are taken for one with probability 2^-62.
 */
#ifndef FLEXNFV_FLOWS_H
#define FLEXNFV_FLOWS_H

#include <stdint.h>

#include "common/parse.h"

#define FX_FLOW_UNKNOWN (-1)

struct fx_flow_table;

/* NULL if memory is short. */
struct fx_flow_table *fx_flows_create(void);

/* Independent of the flow's direction. */
uint64_t fx_flow_fingerprint(const struct fx_flow *flow);

/* The flow's chain, or FX_FLOW_UNKNOWN. */
int fx_flows_find(struct fx_flow_table *table, uint64_t fingerprint);
void fx_flows_install(struct fx_flow_table *table, uint64_t fingerprint, uint8_t chain);

/* Entries not seen for longest go first; call once a second. */
void fx_flows_age(struct fx_flow_table *table);
void fx_flows_clear(struct fx_flow_table *table);

#endif
