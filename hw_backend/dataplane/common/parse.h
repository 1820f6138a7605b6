/*
 * Which flow does a frame belong to? Reads headers only, never past the bytes given.
 *
 * The hash is Toeplitz over source address, destination address, source port, destination port with
 * the key 0x6D5A repeated, so that both directions of a connection have one hash (the symmetric RSS
 * hash of Algorithm 1; the same rule stands in flexnfv/flows.py). What a frame is hashed over:
 *
 *   TCP, UDP, SCTP                  addresses and ports
 *   other IP (ICMP, GRE, ESP ...)   addresses
 *   fragments, the first included   addresses: all fragments of a datagram stay together
 *   ARP over IPv4                   sender and target protocol address: request and reply agree
 *   anything else                   both MAC addresses and the ethertype (0 for 802.3 lengths)
 *   truncated or malformed          the deepest of the above that could be read
 *
 * Up to FX_VLAN_MAX tags (802.1Q, 802.1ad, 0x9100) are skipped and not hashed. Up to FX_EXT_MAX
 * IPv6 extension headers are walked; a longer chain is hashed over the addresses.
 */
#ifndef FX_PARSE_H
#define FX_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#define FX_VLAN_MAX  2
#define FX_EXT_MAX   8
#define FX_FRAME_MAX 9728 /* bytes; the largest frame that common 10G NICs carry */

enum fx_class {
    FX_CLASS_PORTS,     /* IP with ports */
    FX_CLASS_ADDRESSES, /* IP without ports */
    FX_CLASS_FRAGMENT,  /* a fragment of an IP datagram */
    FX_CLASS_ARP,       /* ARP for IPv4 over Ethernet */
    FX_CLASS_OTHER,     /* a sound Ethernet frame of another protocol */
    FX_CLASS_EMPTY,     /* zero length */
    FX_CLASS_TRUNCATED, /* ends inside a header, or before the length that a header states */
    FX_CLASS_MALFORMED, /* a header contradicts itself */
    FX_CLASS_OVERSIZE,  /* longer than FX_FRAME_MAX; not looked at, hash 0 */
    FX_CLASS_COUNT
};

/* Offsets are in bytes from the start of the frame; those of layers not reached are 0. */
struct fx_flow {
    uint8_t src[16]; /* network order; IPv4 in the first 4 bytes, the rest 0 */
    uint8_t dst[16];
    uint16_t sport; /* host order; 0 where there are no ports */
    uint16_t dport;
    uint8_t proto;      /* IP protocol number of the innermost header reached */
    uint8_t ip_version; /* 4, 6, or 0 if not IP */
    uint8_t vlans;      /* tags skipped */
    uint8_t class;      /* enum fx_class */
    uint16_t ethertype; /* host order, behind the VLAN tags */
    uint16_t l3;        /* IP or ARP header */
    uint16_t l4;        /* transport header */
    uint16_t payload;   /* behind the transport header */
    uint16_t end;       /* end of the IP datagram: without Ethernet padding, never past the frame */
    uint32_t hash;
};

/* Reads `len` contiguous bytes; fills every field of *flow and returns flow->class. */
enum fx_class fx_parse(const uint8_t *data, uint32_t len, struct fx_flow *flow);

/* True for classes that no sound sender produces. */
static inline bool fx_class_is_unsound(enum fx_class class)
{
    return class >= FX_CLASS_EMPTY;
}

/* "ports", "truncated", ...; "unknown" for a number that is none. */
const char *fx_class_name(enum fx_class class);

/* The symmetric Toeplitz hash of an input whose 16-bit words, in host order, XOR to `words`. */
uint32_t fx_toeplitz(uint16_t words);

#endif
