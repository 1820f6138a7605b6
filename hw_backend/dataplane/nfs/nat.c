/*
 * nat: stateful source NAT for IPv4. Packets from `inside` to elsewhere leave with the address
 * `outside` and a port of their connection; what comes back is turned again. The connections are
 * nat_table.c's.
 *
 *   TCP, UDP, ICMP echo        translated; answers without a connection are dropped
 *   ICMP errors                translated with the packet that they quote (RFC 5508, section 4)
 *   fragments, other protocols dropped where they would need translation
 *   everything else            passes as it is: IPv6, ARP, traffic within or past `inside`
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_ip.h>

#include "common/parse.h"
#include "nfs/checksum.h"
#include "nfs/lines.h"
#include "nfs/nat_table.h"
#include "nfs/options.h"
#include "scalib/scalib.h"

#define CONNECTIONS_MAX 4194304
#define SWEEP_BURST     32 /* connections looked at for their age with each burst */
#define IPV4_LEN        20
#define ICMP_LEN        8

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4 };

enum { ECHO_REPLY = 0, UNREACHABLE = 3, ECHO_REQUEST = 8, TIME_EXCEEDED = 11, BAD_PARAMETER = 12 };

enum outcome { OUTBOUND, INBOUND, PASSED, STRANGER, NO_ROOM, UNTRANSLATABLE, OUTCOMES };

struct nat {
    struct nat_table *table;
    uint32_t outside; /* host order, as inside */
    uint32_t inside, inside_mask;
    uint64_t start_cycles;
    uint64_t outcomes[OUTCOMES];
};

/* Where a packet's addresses, ports and checksums stand. */
struct packet {
    uint8_t *ip;
    uint8_t *transport;
    uint32_t room; /* bytes of the datagram from `transport` on */
    uint8_t protocol;
};

/* --- reading and rewriting ------------------------------------------------------------------ */

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* Writes a word that lies under `sum` and, unless that is NULL, under `other`. */
static void set16(uint8_t *at, uint16_t value, uint8_t *sum, uint8_t *other)
{
    uint16_t before, after = htons(value);
    memcpy(&before, at, sizeof(before));
    memcpy(at, &after, sizeof(after));
    if (sum)
        fx_checksum_word(sum, before, after);
    if (other)
        fx_checksum_word(other, before, after);
}

static void set32(uint8_t *at, uint32_t value, uint8_t *sum, uint8_t *other)
{
    set16(at, (uint16_t)(value >> 16), sum, other);
    set16(at + 2, (uint16_t)value, sum, other);
}

/* The transport checksum, or NULL if there is none. */
static uint8_t *transport_sum(const struct packet *packet)
{
    uint32_t at = packet->protocol == IPPROTO_TCP ? 16 : packet->protocol == IPPROTO_UDP ? 6 : 2;
    if (packet->room < at + 2)
        return NULL; /* a quoted TCP header is cut before it */
    uint8_t *sum = packet->transport + at;
    return packet->protocol == IPPROTO_UDP && get16(sum) == 0 ? NULL : sum;
}

/* The port of one side, or the identifier of an echo. */
static uint8_t *port_at(const struct packet *packet, bool source)
{
    return packet->transport + (packet->protocol == IPPROTO_ICMP ? 4 : source ? 0 : 2);
}

static uint16_t port_of(const struct packet *packet, bool source)
{
    return get16(port_at(packet, source));
}

/* The other side's port; echoes have none. */
static uint16_t remote_port_of(const struct packet *packet, bool source)
{
    return packet->protocol == IPPROTO_ICMP ? 0 : port_of(packet, source);
}

/* Writes one side's address and port. */
static void rewrite(const struct packet *packet, bool source, uint32_t address, uint16_t port)
{
    uint8_t *sum = transport_sum(packet);
    uint8_t *pseudo_header_sum = packet->protocol == IPPROTO_ICMP ? NULL : sum;
    set32(packet->ip + (source ? 12 : 16), address, packet->ip + 10, pseudo_header_sum);
    set16(port_at(packet, source), port, sum, NULL);
    if (packet->protocol == IPPROTO_UDP && sum && get16(sum) == 0)
        memset(sum, 0xFF, 2); /* RFC 768: a sum of 0 is sent as all ones */
}

/* --- ICMP errors ---------------------------------------------------------------------------- */

/* The packet that an error quotes; false if it is none that this NAT translates. */
static bool read_quote(const struct packet *error, struct packet *quote)
{
    if (error->room < ICMP_LEN + IPV4_LEN)
        return false;
    quote->ip = error->transport + ICMP_LEN;
    uint32_t header = (quote->ip[0] & 0x0Fu) * 4;
    if (quote->ip[0] >> 4 != 4 || header < IPV4_LEN || error->room < ICMP_LEN + header + 8 ||
        get16(quote->ip + 6) & 0x1FFF)
        return false;
    quote->transport = quote->ip + header;
    quote->room = error->room - ICMP_LEN - header;
    quote->protocol = quote->ip[9];
    if (quote->protocol == IPPROTO_ICMP)
        return quote->transport[0] == ECHO_REQUEST || quote->transport[0] == ECHO_REPLY;
    return quote->protocol == IPPROTO_TCP || quote->protocol == IPPROTO_UDP;
}

/* The quote went the other way: where its source is this NAT's side, the error's destination is. */
static void rewrite_error(const struct packet *error, const struct packet *quote, bool source,
                          uint32_t address, uint16_t port)
{
    uint8_t *body = error->transport + ICMP_LEN;
    size_t len = error->room - ICMP_LEN;
    uint16_t before = rte_raw_cksum(body, len);
    rewrite(quote, source, address, port);
    fx_checksum_word(error->transport + 2, before, rte_raw_cksum(body, len));
    set32(error->ip + (source ? 16 : 12), address, error->ip + 10, NULL);
}

static enum outcome error_out(struct nat *nat, const struct packet *error, uint64_t now_s)
{
    struct packet quote;
    if (!read_quote(error, &quote))
        return UNTRANSLATABLE;
    const struct nat_connection *connection =
        nat_table_find_out(nat->table, quote.protocol, get32(quote.ip + 16), port_of(&quote, false),
                           get32(quote.ip + 12), remote_port_of(&quote, true), now_s);
    if (!connection)
        return STRANGER;
    rewrite_error(error, &quote, false, nat->outside, connection->outside_port);
    return OUTBOUND;
}

static enum outcome error_in(struct nat *nat, const struct packet *error, uint64_t now_s)
{
    struct packet quote;
    if (!read_quote(error, &quote))
        return UNTRANSLATABLE;
    const struct nat_connection *connection =
        nat_table_find_in(nat->table, quote.protocol, port_of(&quote, true), get32(quote.ip + 16),
                          remote_port_of(&quote, false), now_s);
    if (!connection || get32(quote.ip + 12) != nat->outside)
        return STRANGER;
    rewrite_error(error, &quote, true, connection->inside, connection->inside_port);
    return INBOUND;
}

/* --- packets -------------------------------------------------------------------------------- */

static void follow(struct nat_connection *connection, const struct packet *packet, uint64_t now_s)
{
    if (packet->protocol == IPPROTO_TCP) {
        uint8_t flags = packet->transport[13];
        connection->closing =
            (connection->closing && !(flags & TCP_SYN)) || (flags & (TCP_FIN | TCP_RST)) != 0;
    }
    nat_connection_touch(connection, now_s);
}

static enum outcome translate_out(struct nat *nat, const struct packet *packet, uint64_t now_s)
{
    uint32_t remote = get32(packet->ip + 16);
    if (remote == nat->outside)
        return UNTRANSLATABLE; /* no hairpins */
    struct nat_connection *connection =
        nat_table_out(nat->table, packet->protocol, get32(packet->ip + 12), port_of(packet, true),
                      remote, remote_port_of(packet, false), now_s);
    if (!connection)
        return NO_ROOM;
    follow(connection, packet, now_s);
    rewrite(packet, true, nat->outside, connection->outside_port);
    return OUTBOUND;
}

static enum outcome translate_in(struct nat *nat, const struct packet *packet, uint64_t now_s)
{
    struct nat_connection *connection =
        nat_table_find_in(nat->table, packet->protocol, port_of(packet, false),
                          get32(packet->ip + 12), remote_port_of(packet, true), now_s);
    if (!connection)
        return STRANGER;
    connection->answered = true;
    follow(connection, packet, now_s);
    rewrite(packet, false, connection->inside, connection->inside_port);
    return INBOUND;
}

static enum outcome translate_icmp(struct nat *nat, const struct packet *packet, bool out,
                                   uint64_t now_s)
{
    if (packet->room < ICMP_LEN)
        return UNTRANSLATABLE;
    uint8_t type = packet->transport[0];
    if (type == UNREACHABLE || type == TIME_EXCEEDED || type == BAD_PARAMETER)
        return out ? error_out(nat, packet, now_s) : error_in(nat, packet, now_s);
    if (type == (out ? ECHO_REQUEST : ECHO_REPLY))
        return out ? translate_out(nat, packet, now_s) : translate_in(nat, packet, now_s);
    return out ? UNTRANSLATABLE : STRANGER;
}

static bool is_inside(const struct nat *nat, uint32_t address)
{
    return (address & nat->inside_mask) == nat->inside;
}

static enum outcome translate(struct nat *nat, const struct rte_mbuf *mbuf, uint64_t now_s)
{
    uint8_t *data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    struct fx_flow flow;
    fx_parse(data, mbuf->data_len, &flow);
    if (flow.ip_version != 4)
        return PASSED;
    uint32_t source = get32(flow.src), destination = get32(flow.dst);
    bool out = is_inside(nat, source) && !is_inside(nat, destination);
    if (!out && destination != nat->outside)
        return PASSED;
    struct packet packet = {.ip = data + flow.l3,
                            .transport = data + flow.l4,
                            .room = flow.end - flow.l4,
                            .protocol = flow.proto};
    if (flow.class == FX_CLASS_ADDRESSES && flow.proto == IPPROTO_ICMP)
        return translate_icmp(nat, &packet, out, now_s);
    if (flow.class != FX_CLASS_PORTS || (flow.proto != IPPROTO_TCP && flow.proto != IPPROTO_UDP))
        return UNTRANSLATABLE;
    return out ? translate_out(nat, &packet, now_s) : translate_in(nat, &packet, now_s);
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    struct nat *nat = nf->state;
    uint64_t now_s = (rte_rdtsc() - nat->start_cycles) / rte_get_tsc_hz();
    nat_table_sweep(nat->table, SWEEP_BURST, now_s);
    for (uint16_t i = 0; i < count; i++) {
        enum outcome outcome = translate(nat, packets[i], now_s);
        nat->outcomes[outcome]++;
        if (outcome >= STRANGER)
            flexnfv_drop(packets[i]);
    }
}

/* --- start and end -------------------------------------------------------------------------- */

static int read_addresses(struct flexnfv_nf *nf, struct nat *nat, const char *inside,
                          const char *outside)
{
    struct nf_prefix prefix;
    if (!inside || !outside)
        return flexnfv_fail(nf, "needs inside=PREFIX and outside=ADDRESS");
    if (nf_prefix_read(inside, &prefix) != 0 || prefix.version != 4 || prefix.length == 0)
        return flexnfv_fail(nf, "inside=%s: give an IPv4 prefix of length 1 to 32", inside);
    nat->inside = get32(prefix.address);
    nat->inside_mask = UINT32_MAX << (32 - prefix.length);
    if (nf_prefix_read(outside, &prefix) != 0 || prefix.version != 4 || prefix.length != 32)
        return flexnfv_fail(nf, "outside=%s: give one IPv4 address", outside);
    nat->outside = get32(prefix.address);
    if (is_inside(nat, nat->outside))
        return flexnfv_fail(nf, "outside=%s lies in inside=%s", outside, inside);
    return 0;
}

static int read_ports(struct flexnfv_nf *nf, const char *text, unsigned *low, unsigned *high)
{
    int used = 0;
    if (sscanf(text, "%5u-%5u%n", low, high, &used) != 2 || text[used] || *low < 1 ||
        *high > UINT16_MAX || *high < *low)
        return flexnfv_fail(nf, "ports=%s: give LOW-HIGH within 1-65535", text);
    return 0;
}

static int start(struct flexnfv_nf *nf, struct nat *nat, const char *args)
{
    enum { INSIDE, OUTSIDE, PORTS, CONNECTIONS, COUNT };
    struct nf_option options[COUNT] = {
        [INSIDE] = {.name = "inside"},
        [OUTSIDE] = {.name = "outside"},
        [PORTS] = {.name = "ports", .value = "1024-65535"},
        [CONNECTIONS] = {.name = "connections", .value = "65536"},
    };
    unsigned low, high;
    if (nf_options_read(nf, args, options, COUNT) != 0 ||
        read_addresses(nf, nat, options[INSIDE].value, options[OUTSIDE].value) != 0 ||
        read_ports(nf, options[PORTS].value, &low, &high) != 0)
        return -1;
    int64_t connections = nf_options_number(nf, &options[CONNECTIONS], 1, CONNECTIONS_MAX);
    if (connections < 0)
        return -1;
    nat->start_cycles = rte_rdtsc();
    nat->table =
        nat_table_create(nat->outside, (uint32_t)connections, (uint16_t)low, (uint16_t)high);
    return nat->table ? 0 : flexnfv_fail(nf, "out of memory");
}

static int init(struct flexnfv_nf *nf, const char *args)
{
    struct nat *nat = calloc(1, sizeof(*nat));
    if (!nat)
        return flexnfv_fail(nf, "out of memory");
    if (start(nf, nat, args) != 0) {
        free(nat);
        return -1;
    }
    nf->state = nat;
    return 0;
}

static void teardown(struct flexnfv_nf *nf)
{
    static const char *const names[OUTCOMES] = {"translated outbound",  "translated inbound",
                                                "passed as they are",   "without a connection",
                                                "without room or port", "not translatable"};
    struct nat *nat = nf->state;
    for (int outcome = 0; outcome < OUTCOMES; outcome++)
        printf("%s.%u: %" PRIu64 " packets %s\n", nf->type_name, nf->info.slot,
               nat->outcomes[outcome], names[outcome]);
    printf("%s.%u: %u connections\n", nf->type_name, nf->info.slot, nat_table_count(nat->table));
    nat_table_destroy(nat->table);
    free(nat);
}

static const struct flexnfv_nf_ops ops = {
    .name = "nat",
    .summary = "stateful source NAT for IPv4",
    .stateful = true,
    .args = "inside=PREFIX outside=ADDRESS ports=LOW-HIGH connections=N",
    .init = init,
    .process = process,
    .teardown = teardown,
};
FLEXNFV_NF(ops)
