/*
 * The connections of a source NAT, free of DPDK: which inside endpoint an outside port stands for.
 *
 * A connection has its own outside port towards each remote endpoint (endpoint-dependent mapping),
 * so a port can serve many remotes. The port is chosen so that the packets of both directions fall
 * into the same flow bucket (the hash's low bits, see common/mapping.h): the mappings that work by
 * bucket then send answers to the instance that made the connection, and no two instances can
 * choose the same outside endpoint for one remote. A hash is linear, so the ports that do this are
 * the XOR of one of them with each of 128 fixed words.
 *
 * Addresses and ports are in host order. An ICMP query's identifier stands for its own port, 0 for
 * the remote's. ICMP is hashed over addresses alone, so its answers find their instance only where
 * the type has no more than one.
 */
#ifndef FX_NAT_TABLE_H
#define FX_NAT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct nat_table;

struct nat_connection {
    uint32_t inside;
    uint32_t remote;
    uint16_t inside_port;
    uint16_t remote_port;
    uint16_t outside_port;
    uint8_t protocol;
    bool answered; /* a packet came from the remote */
    bool closing;  /* FIN or RST was seen */
    uint64_t expires_s;
};

/* NULL if memory is short. Ports are chosen in [low_port, high_port]. */
struct nat_table *nat_table_create(uint32_t outside, uint32_t connections, uint16_t low_port,
                                   uint16_t high_port);
void nat_table_destroy(struct nat_table *table);

/* The connection of a packet from inside, made if it is new; NULL if there is no room or port. */
struct nat_connection *nat_table_out(struct nat_table *table, uint8_t protocol, uint32_t inside,
                                     uint16_t inside_port, uint32_t remote, uint16_t remote_port,
                                     uint64_t now_s);

/* The connection that a packet from inside belongs to, or NULL. */
struct nat_connection *nat_table_find_out(struct nat_table *table, uint8_t protocol,
                                          uint32_t inside, uint16_t inside_port, uint32_t remote,
                                          uint16_t remote_port, uint64_t now_s);

/* The connection that a packet from outside belongs to, or NULL. */
struct nat_connection *nat_table_find_in(struct nat_table *table, uint8_t protocol,
                                         uint16_t outside_port, uint32_t remote,
                                         uint16_t remote_port, uint64_t now_s);

/* A packet of the connection passed: it lives on for its protocol's timeout. */
void nat_connection_touch(struct nat_connection *connection, uint64_t now_s);

/* Forgets expired connections among the next `count` entries, in turn. */
void nat_table_sweep(struct nat_table *table, uint32_t count, uint64_t now_s);

uint32_t nat_table_count(const struct nat_table *table);

#endif
