/*
 * router: forwards IP packets by the longest matching prefix, as a file has it:
 *
 *     # prefix         next hop's MAC         our own MAC (else the source address stays)
 *     10.0.0.0/8       via 02:00:00:00:00:01  from 02:00:00:00:00:aa
 *     2001:db8::/32    via 02:00:00:00:00:02
 *     198.51.100.0/24  drop
 *
 * TTL or hop limit goes down by one. What no route matches, what expires and what is unsound is
 * dropped; an NF makes no packets, so no ICMP error tells the sender. Frames that are not IP pass.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_lpm.h>
#include <rte_lpm6.h>

#include "common/parse.h"
#include "nfs/checksum.h"
#include "nfs/lines.h"
#include "nfs/options.h"
#include "nfs/shared_table.h"
#include "scalib/scalib.h"

#define ROUTES_MAX 65536
#define TBL8S      4096 /* of 256 entries, for prefixes longer than 24 bits */

struct route {
    struct nf_prefix prefix;
    struct rte_ether_addr next;
    struct rte_ether_addr own;
    uint8_t has_own;
    uint8_t drop;
};

struct route_file {
    struct route *routes;
    uint32_t count;
    uint32_t count_of[7]; /* by IP version */
};

enum outcome { ROUTED, NO_ROUTE, DROP_ROUTE, EXPIRED, UNSOUND, NOT_IP, OUTCOMES };

struct router {
    struct rte_lpm *lpm4;  /* NULL: no route of that version */
    struct rte_lpm6 *lpm6; /* values are indices of file.routes */
    struct route_file file;
    uint64_t outcomes[OUTCOMES];
};

/* --- the file ------------------------------------------------------------------------------- */

static int take_hop(struct flexnfv_nf *nf, struct route *route, const struct nf_line *line)
{
    char *const *words = line->words;
    if (line->count == 2 && strcmp(words[1], "drop") == 0) {
        route->drop = 1;
        return 0;
    }
    if ((line->count != 3 && line->count != 5) || strcmp(words[1], "via") != 0 ||
        (line->count == 5 && strcmp(words[3], "from") != 0))
        return nf_line_fail(nf, line,
                            "write 'PREFIX via MAC', 'PREFIX via MAC from MAC' or "
                            "'PREFIX drop'");
    if (rte_ether_unformat_addr(words[2], &route->next) != 0)
        return nf_line_fail(nf, line, "'%s' is no MAC address", words[2]);
    route->has_own = line->count == 5;
    if (route->has_own && rte_ether_unformat_addr(words[4], &route->own) != 0)
        return nf_line_fail(nf, line, "'%s' is no MAC address", words[4]);
    return 0;
}

static int take_line(struct flexnfv_nf *nf, void *context, const struct nf_line *line)
{
    struct route_file *file = context;
    if (file->count == ROUTES_MAX)
        return nf_line_fail(nf, line, "more than %d routes", ROUTES_MAX);
    struct route *route = &file->routes[file->count];
    if (nf_prefix_read(line->words[0], &route->prefix) != 0)
        return nf_line_fail(nf, line, "'%s' is no prefix", line->words[0]);
    if (take_hop(nf, route, line) != 0)
        return -1;
    file->count_of[route->prefix.version]++;
    file->count++;
    return 0;
}

static int compare_prefixes(const void *a, const void *b)
{
    return memcmp(&((const struct route *)a)->prefix, &((const struct route *)b)->prefix,
                  sizeof(struct nf_prefix));
}

/* Sorted, so that the order of lines makes no other table; a prefix may stand there once. */
static int sort(struct flexnfv_nf *nf, const char *path, struct route_file *file)
{
    qsort(file->routes, file->count, sizeof(*file->routes), compare_prefixes);
    for (uint32_t i = 1; i < file->count; i++)
        if (compare_prefixes(&file->routes[i - 1], &file->routes[i]) == 0)
            return flexnfv_fail(nf, "%s: a prefix of length %u has two routes", path,
                                file->routes[i].prefix.length);
    return file->count ? 0 : flexnfv_fail(nf, "%s: holds no route", path);
}

/* --- the tables ----------------------------------------------------------------------------- */

static int add4(struct rte_lpm *lpm, const uint8_t address[16], uint8_t length, uint32_t index)
{
    uint32_t word;
    memcpy(&word, address, sizeof(word));
    return rte_lpm_add(lpm, rte_be_to_cpu_32(word), length, index);
}

static int add(struct router *router, const uint8_t address[16], uint8_t version, uint8_t length,
               uint32_t index)
{
    return version == 4 ? add4(router->lpm4, address, length, index)
                        : rte_lpm6_add(router->lpm6, address, length, index);
}

/* The tables keep no prefix of length 0: two halves stand for it. */
static int add_route(struct router *router, uint32_t index)
{
    const struct nf_prefix *prefix = &router->file.routes[index].prefix;
    static const uint8_t upper_half[16] = {0x80};
    if (prefix->length > 0)
        return add(router, prefix->address, prefix->version, prefix->length, index);
    int failed = add(router, prefix->address, prefix->version, 1, index);
    return failed ? failed : add(router, upper_half, prefix->version, 1, index);
}

/* Shorter prefixes first: the halves of a /0 must not displace a real /1. */
static int fill(struct router *router, uint8_t version)
{
    for (int length = 0; length <= 128; length++)
        for (uint32_t i = 0; i < router->file.count; i++) {
            const struct nf_prefix *prefix = &router->file.routes[i].prefix;
            if (prefix->version == version && prefix->length == length && add_route(router, i) < 0)
                return -1;
        }
    return 0;
}

static int open_table4(struct flexnfv_nf *nf, const char *name, struct router *router)
{
    struct rte_lpm_config config = {.max_rules = ROUTES_MAX + 1, .number_tbl8s = TBL8S};
    router->lpm4 = rte_lpm_find_existing(name);
    if (router->lpm4 && nf_table_is_ready(name))
        return 0;
    rte_lpm_free(router->lpm4); /* whoever built it died in the middle */
    router->lpm4 = rte_lpm_create(name, SOCKET_ID_ANY, &config);
    if (router->lpm4 && fill(router, 4) == 0)
        return nf_table_set_ready(nf, name);
    rte_lpm_free(router->lpm4);
    return flexnfv_fail(nf, "no room in the manager's memory for the IPv4 routes (64 MB)");
}

static int open_table6(struct flexnfv_nf *nf, const char *name, struct router *router)
{
    struct rte_lpm6_config config = {.max_rules = ROUTES_MAX + 1, .number_tbl8s = TBL8S * 4};
    router->lpm6 = rte_lpm6_find_existing(name);
    if (router->lpm6 && nf_table_is_ready(name))
        return 0;
    rte_lpm6_free(router->lpm6);
    router->lpm6 = rte_lpm6_create(name, SOCKET_ID_ANY, &config);
    if (router->lpm6 && fill(router, 6) == 0)
        return nf_table_set_ready(nf, name);
    rte_lpm6_free(router->lpm6);
    return flexnfv_fail(nf, "no room in the manager's memory for the IPv6 routes (96 MB)");
}

static int open_tables(struct flexnfv_nf *nf, struct router *router)
{
    const struct route_file *file = &router->file;
    size_t size = file->count * sizeof(*file->routes);
    char name4[NF_TABLE_NAME], name6[NF_TABLE_NAME];
    nf_table_name(name4, "router4", file->routes, size);
    nf_table_name(name6, "router6", file->routes, size);
    if (file->count_of[4] && open_table4(nf, name4, router) != 0)
        return -1;
    return file->count_of[6] ? open_table6(nf, name6, router) : 0;
}

/* --- start and end -------------------------------------------------------------------------- */

static void release(struct router *router)
{
    free(router->file.routes);
    free(router);
}

static int load(struct flexnfv_nf *nf, struct router *router, const char *path)
{
    router->file.routes = calloc(ROUTES_MAX, sizeof(*router->file.routes));
    if (!router->file.routes)
        return flexnfv_fail(nf, "out of memory");
    if (nf_lines_read(nf, path, take_line, &router->file) != 0 ||
        sort(nf, path, &router->file) != 0)
        return -1;
    int lock = nf_table_lock(nf, path);
    if (lock < 0)
        return -1;
    int result = open_tables(nf, router);
    nf_table_unlock(lock);
    return result;
}

static int init(struct flexnfv_nf *nf, const char *args)
{
    struct nf_option options[] = {{.name = "routes"}};
    if (nf_options_read(nf, args, options, 1) != 0)
        return -1;
    if (!options[0].value)
        return flexnfv_fail(nf, "needs routes=FILE");
    struct router *router = calloc(1, sizeof(*router));
    if (!router)
        return flexnfv_fail(nf, "out of memory");
    if (load(nf, router, options[0].value) != 0) {
        release(router);
        return -1;
    }
    nf->state = router;
    return 0;
}

/* --- packets -------------------------------------------------------------------------------- */

/* False if the header's checksum is wrong (RFC 1812, section 5.2.2). */
static bool is_intact(const uint8_t *header)
{
    return rte_raw_cksum(header, (header[0] & 0x0Fu) * 4) == 0xFFFF;
}

static enum outcome check(const uint8_t *data, const struct fx_flow *flow)
{
    if (flow->ip_version == 0)
        return fx_class_is_unsound(flow->class) ? UNSOUND : NOT_IP;
    const uint8_t *header = data + flow->l3;
    if (fx_class_is_unsound(flow->class) || (flow->ip_version == 4 && !is_intact(header)))
        return UNSOUND;
    return header[flow->ip_version == 4 ? 8 : 7] <= 1 ? EXPIRED : ROUTED;
}

static bool look_up(const struct router *router, const struct fx_flow *flow, uint32_t *index)
{
    if (flow->ip_version == 6)
        return router->lpm6 && rte_lpm6_lookup(router->lpm6, flow->dst, index) == 0;
    uint32_t address;
    memcpy(&address, flow->dst, sizeof(address));
    return router->lpm4 && rte_lpm_lookup(router->lpm4, rte_be_to_cpu_32(address), index) == 0;
}

static void take_hop_off(uint8_t *data, const struct fx_flow *flow)
{
    uint8_t *header = data + flow->l3;
    if (flow->ip_version == 6) {
        header[7]--;
        return;
    }
    uint16_t before, after;
    memcpy(&before, header + 8, sizeof(before)); /* TTL and protocol are one word */
    header[8]--;
    memcpy(&after, header + 8, sizeof(after));
    fx_checksum_word(header + 10, before, after);
}

static enum outcome route(const struct router *router, struct rte_mbuf *packet)
{
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    struct fx_flow flow;
    uint32_t index;
    fx_parse(data, packet->data_len, &flow);
    enum outcome outcome = check(data, &flow);
    if (outcome != ROUTED)
        return outcome;
    if (!look_up(router, &flow, &index))
        return NO_ROUTE;
    const struct route *route = &router->file.routes[index];
    if (route->drop)
        return DROP_ROUTE;
    struct rte_ether_hdr *ether = (struct rte_ether_hdr *)data;
    ether->dst_addr = route->next;
    if (route->has_own)
        ether->src_addr = route->own;
    take_hop_off(data, &flow);
    return ROUTED;
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    struct router *router = nf->state;
    for (uint16_t i = 0; i < count; i++) {
        enum outcome outcome = route(router, packets[i]);
        router->outcomes[outcome]++;
        if (outcome != ROUTED && outcome != NOT_IP)
            flexnfv_drop(packets[i]);
    }
}

static void teardown(struct flexnfv_nf *nf)
{
    static const char *const names[OUTCOMES] = {"routed",  "without a route", "on a drop route",
                                                "expired", "unsound",         "not IP"};
    struct router *router = nf->state;
    for (int outcome = 0; outcome < OUTCOMES; outcome++)
        printf("%s.%u: %" PRIu64 " packets %s\n", nf->type_name, nf->info.slot,
               router->outcomes[outcome], names[outcome]);
    release(router);
}

static const struct flexnfv_nf_ops ops = {
    .name = "router",
    .summary = "forwards IP packets by the longest matching prefix",
    .args = "routes=FILE",
    .init = init,
    .process = process,
    .teardown = teardown,
};
FLEXNFV_NF(ops)
