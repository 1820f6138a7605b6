#include "parse.h"

#include <string.h>

#define KEY            0x6D5A
#define ETHER_LEN      14
#define ETHER_TYPE_MIN 0x0600 /* below it the field is an 802.3 length */
#define TYPE_IPV4      0x0800
#define TYPE_ARP       0x0806
#define TYPE_VLAN      0x8100
#define TYPE_IPV6      0x86DD
#define TYPE_QINQ      0x88A8
#define TYPE_QINQ_OLD  0x9100
#define ARP_LEN        28
#define IPV4_LEN       20
#define IPV4_FRAGMENT  0x3FFF /* "more fragments" and the offset */
#define IPV6_LEN       40
#define IPV6_FRAGMENT  0xFFF9 /* the offset and "more fragments" */

enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AH = 51, DESTINATION = 60, MOBILITY = 135 };
enum { TCP = 6, UDP = 17, SCTP = 132 };

/*
 * Input bit i of a Toeplitz hash adds the 32 key bits that start at i. The key repeats every 16
 * bits, so the words of the input can be XORed first, and both halves of the result are equal. The
 * table holds the half for each first byte of a word; a second byte gives the same, rotated by 8.
 */
#define ROTATED(i) ((uint16_t)((KEY << (i)) | (KEY >> (16 - (i)))))
#define BIT(b, i)  (((b) >> (7 - (i)) & 1) * ROTATED(i))
#define ENTRY(b)                                                                                   \
    (BIT(b, 0) ^ BIT(b, 1) ^ BIT(b, 2) ^ BIT(b, 3) ^ BIT(b, 4) ^ BIT(b, 5) ^ BIT(b, 6) ^ BIT(b, 7))
#define FOUR(b)       ENTRY(b), ENTRY((b) + 1), ENTRY((b) + 2), ENTRY((b) + 3)
#define SIXTEEN(b)    FOUR(b), FOUR((b) + 4), FOUR((b) + 8), FOUR((b) + 12)
#define SIXTY_FOUR(b) SIXTEEN(b), SIXTEEN((b) + 16), SIXTEEN((b) + 32), SIXTEEN((b) + 48)
static const uint16_t toeplitz_byte[256] = {SIXTY_FOUR(0), SIXTY_FOUR(64), SIXTY_FOUR(128),
                                            SIXTY_FOUR(192)};

uint32_t fx_toeplitz(uint16_t words)
{
    uint16_t high = toeplitz_byte[words >> 8];
    uint16_t low = toeplitz_byte[words & 0xFF];
    uint16_t half = high ^ (uint16_t)(low << 8 | low >> 8);
    return (uint32_t)half << 16 | half;
}

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* XOR of the `count` 16-bit words at p, in host order. */
static uint16_t xor_words(const uint8_t *p, int count)
{
    uint16_t words = 0;
    for (int i = 0; i < count; i++)
        words ^= be16(p + 2 * i);
    return words;
}

/* The hash of a frame that is not IP, or that was cut off before its addresses. */
static uint32_t link_hash(const uint8_t *data, uint16_t type)
{
    return fx_toeplitz(xor_words(data, 6) ^ (type < ETHER_TYPE_MIN ? 0 : type));
}

static bool has_ports(uint8_t proto)
{
    return proto == TCP || proto == UDP || proto == SCTP;
}

/* Transport header length at p, of which `room` bytes are there; 0 if they are too few, or if the
 * header states a length below its own minimum (*malformed). */
static uint32_t transport_len(uint8_t proto, const uint8_t *p, uint32_t room, bool *malformed)
{
    uint32_t minimum = proto == TCP ? 20 : proto == SCTP ? 12 : 8;
    if (room < minimum)
        return 0;
    uint32_t stated = proto == TCP ? (p[12] >> 4) * 4u : minimum;
    *malformed = stated < minimum || (proto == UDP && be16(p + 4) < minimum);
    return *malformed || stated > room ? 0 : stated;
}

/* Fills ports, payload and hash; `addresses` is the XOR of the address words. */
static enum fx_class parse_transport(const uint8_t *data, uint16_t addresses, struct fx_flow *flow)
{
    uint32_t room = flow->end - flow->l4;
    flow->hash = fx_toeplitz(addresses);
    flow->payload = flow->l4;
    if (!has_ports(flow->proto))
        return FX_CLASS_ADDRESSES;
    if (room < 4)
        return FX_CLASS_TRUNCATED;
    const uint8_t *p = data + flow->l4;
    flow->sport = be16(p);
    flow->dport = be16(p + 2);
    flow->hash = fx_toeplitz(addresses ^ flow->sport ^ flow->dport);
    bool malformed = false;
    uint32_t header = transport_len(flow->proto, p, room, &malformed);
    if (header == 0)
        return malformed ? FX_CLASS_MALFORMED : FX_CLASS_TRUNCATED;
    flow->payload = (uint16_t)(flow->l4 + header);
    return FX_CLASS_PORTS;
}

static enum fx_class parse_ipv4(const uint8_t *data, uint32_t len, struct fx_flow *flow)
{
    const uint8_t *p = data + flow->l3;
    uint32_t room = len - flow->l3;
    if (room < IPV4_LEN) {
        flow->hash = link_hash(data, flow->ethertype);
        return FX_CLASS_TRUNCATED;
    }
    flow->ip_version = 4;
    flow->proto = p[9];
    memcpy(flow->src, p + 12, 4);
    memcpy(flow->dst, p + 16, 4);
    uint16_t addresses = xor_words(p + 12, 4);
    flow->hash = fx_toeplitz(addresses);

    uint32_t header = (p[0] & 0x0F) * 4u;
    uint32_t total = be16(p + 2);
    if (p[0] >> 4 != 4 || header < IPV4_LEN || total < header)
        return FX_CLASS_MALFORMED;
    if (header > room)
        return FX_CLASS_TRUNCATED;
    bool cut = total > room;
    flow->l4 = (uint16_t)(flow->l3 + header);
    flow->end = (uint16_t)(flow->l3 + (cut ? room : total));
    if (be16(p + 6) & IPV4_FRAGMENT) {
        flow->payload = flow->l4;
        return cut ? FX_CLASS_TRUNCATED : FX_CLASS_FRAGMENT;
    }
    enum fx_class class = parse_transport(data, addresses, flow);
    return cut && !fx_class_is_unsound(class) ? FX_CLASS_TRUNCATED : class;
}

static bool is_extension(uint8_t proto)
{
    return proto == HOP_BY_HOP || proto == ROUTING || proto == FRAGMENT || proto == AH ||
           proto == DESTINATION || proto == MOBILITY;
}

/* Steps flow->proto and flow->l4 over the extension headers; PORTS stands for "go on". */
static enum fx_class skip_extensions(const uint8_t *data, struct fx_flow *flow)
{
    for (int walked = 0; is_extension(flow->proto); walked++) {
        const uint8_t *p = data + flow->l4;
        uint32_t room = flow->end - flow->l4;
        if (walked == FX_EXT_MAX)
            return FX_CLASS_ADDRESSES;
        if (room < 8)
            return FX_CLASS_TRUNCATED;
        /* A fragment header with offset 0 and no more to come is a whole datagram (RFC 6946). */
        if (flow->proto == FRAGMENT && be16(p + 2) & IPV6_FRAGMENT)
            return FX_CLASS_FRAGMENT;
        uint32_t header = flow->proto == FRAGMENT ? 8
                          : flow->proto == AH     ? (p[1] + 2u) * 4u
                                                  : (p[1] + 1u) * 8u;
        if (header > room)
            return FX_CLASS_TRUNCATED;
        flow->proto = p[0];
        flow->l4 = (uint16_t)(flow->l4 + header);
    }
    return FX_CLASS_PORTS;
}

static enum fx_class parse_ipv6(const uint8_t *data, uint32_t len, struct fx_flow *flow)
{
    const uint8_t *p = data + flow->l3;
    uint32_t room = len - flow->l3;
    if (room < IPV6_LEN) {
        flow->hash = link_hash(data, flow->ethertype);
        return FX_CLASS_TRUNCATED;
    }
    flow->ip_version = 6;
    flow->proto = p[6];
    memcpy(flow->src, p + 8, 16);
    memcpy(flow->dst, p + 24, 16);
    uint16_t addresses = xor_words(p + 8, 16);
    flow->hash = fx_toeplitz(addresses);
    if (p[0] >> 4 != 6)
        return FX_CLASS_MALFORMED;

    uint32_t total = IPV6_LEN + be16(p + 4);
    bool cut = total > room;
    flow->l4 = (uint16_t)(flow->l3 + IPV6_LEN);
    flow->end = (uint16_t)(flow->l3 + (cut ? room : total));
    enum fx_class class = skip_extensions(data, flow);
    flow->payload = flow->l4;
    if (class == FX_CLASS_PORTS)
        class = parse_transport(data, addresses, flow);
    return cut && !fx_class_is_unsound(class) ? FX_CLASS_TRUNCATED : class;
}

static enum fx_class parse_arp(const uint8_t *data, uint32_t len, struct fx_flow *flow)
{
    static const uint8_t ipv4_over_ethernet[6] = {0, 1, 8, 0, 6, 4};
    const uint8_t *p = data + flow->l3;
    uint32_t room = len - flow->l3;
    if (room < ARP_LEN) {
        flow->hash = link_hash(data, flow->ethertype);
        return FX_CLASS_TRUNCATED;
    }
    if (memcmp(p, ipv4_over_ethernet, sizeof(ipv4_over_ethernet)) != 0) {
        flow->hash = link_hash(data, flow->ethertype);
        return FX_CLASS_OTHER;
    }
    memcpy(flow->src, p + 14, 4);
    memcpy(flow->dst, p + 24, 4);
    flow->hash = fx_toeplitz(xor_words(p + 14, 2) ^ xor_words(p + 24, 2));
    return FX_CLASS_ARP;
}

static bool is_vlan(uint16_t type)
{
    return type == TYPE_VLAN || type == TYPE_QINQ || type == TYPE_QINQ_OLD;
}

static enum fx_class classify(const uint8_t *data, uint32_t len, struct fx_flow *flow)
{
    if (len == 0)
        return FX_CLASS_EMPTY;
    if (len > FX_FRAME_MAX)
        return FX_CLASS_OVERSIZE;
    if (len < ETHER_LEN)
        return FX_CLASS_TRUNCATED;
    uint32_t l3 = ETHER_LEN;
    uint16_t type = be16(data + 12);
    while (is_vlan(type) && flow->vlans < FX_VLAN_MAX) {
        if (len < l3 + 4) {
            flow->hash = link_hash(data, type);
            return FX_CLASS_TRUNCATED;
        }
        type = be16(data + l3 + 2);
        l3 += 4;
        flow->vlans++;
    }
    flow->ethertype = type;
    flow->l3 = (uint16_t)l3;
    flow->end = (uint16_t)len;
    if (type == TYPE_IPV4)
        return parse_ipv4(data, len, flow);
    if (type == TYPE_IPV6)
        return parse_ipv6(data, len, flow);
    if (type == TYPE_ARP)
        return parse_arp(data, len, flow);
    flow->hash = link_hash(data, type);
    return FX_CLASS_OTHER;
}

/*
 * Reads what nearly every packet is, an untagged, whole IPv4 datagram of TCP or UDP without
 * options, in a third of the time. False for any other packet, which is then read step by step.
 */
static bool parse_usual(const uint8_t *data, uint32_t len, struct fx_flow *flow)
{
    enum { L4 = ETHER_LEN + IPV4_LEN };
    uint32_t src, dst, ports;
    if (len < L4 + 8 || len > FX_FRAME_MAX || be16(data + 12) != TYPE_IPV4)
        return false;
    const uint8_t *p = data + ETHER_LEN, *transport = data + L4;
    uint32_t total = be16(p + 2);
    if (p[0] != 0x45 || be16(p + 6) & IPV4_FRAGMENT || total > len - ETHER_LEN ||
        (p[9] != UDP && p[9] != TCP))
        return false;
    bool malformed = false;
    uint32_t room = total < IPV4_LEN ? 0 : total - IPV4_LEN;
    uint32_t header = transport_len(p[9], transport, room, &malformed);
    if (header == 0)
        return false;
    memcpy(&src, p + 12, 4);
    memcpy(&dst, p + 16, 4);
    memcpy(&ports, transport, 4);
    uint32_t words = src ^ dst ^ ports;
    *flow = (struct fx_flow){
        .sport = be16(transport),
        .dport = be16(transport + 2),
        .proto = p[9],
        .ip_version = 4,
        .class = FX_CLASS_PORTS,
        .ethertype = TYPE_IPV4,
        .l3 = ETHER_LEN,
        .l4 = L4,
        .payload = (uint16_t)(L4 + header),
        .end = (uint16_t)(ETHER_LEN + total),
        .hash = fx_toeplitz(__builtin_bswap16((uint16_t)(words ^ words >> 16))),
    };
    memcpy(flow->src, &src, 4);
    memcpy(flow->dst, &dst, 4);
    return true;
}

enum fx_class fx_parse(const uint8_t *data, uint32_t len, struct fx_flow *flow)
{
    if (parse_usual(data, len, flow))
        return FX_CLASS_PORTS;
    memset(flow, 0, sizeof(*flow));
    enum fx_class class = classify(data, len, flow);
    flow->class = class;
    return class;
}

const char *fx_class_name(enum fx_class class)
{
    static const char *const names[FX_CLASS_COUNT] = {
        [FX_CLASS_PORTS] = "ports",         [FX_CLASS_ADDRESSES] = "addresses",
        [FX_CLASS_FRAGMENT] = "fragment",   [FX_CLASS_ARP] = "arp",
        [FX_CLASS_OTHER] = "other",         [FX_CLASS_EMPTY] = "empty",
        [FX_CLASS_TRUNCATED] = "truncated", [FX_CLASS_MALFORMED] = "malformed",
        [FX_CLASS_OVERSIZE] = "oversize",
    };
    return (unsigned)class < FX_CLASS_COUNT ? names[class] : "unknown";
}
