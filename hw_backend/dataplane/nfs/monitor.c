/* monitor: counts packets and bytes by protocol, as the paper's NF1 reports incoming packets. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_ether.h>
#include <rte_ip.h>

#include "scalib/scalib.h"

enum kind { TCP, UDP, OTHER_IP, NOT_IP, KINDS };

struct monitor {
    uint64_t packets[KINDS];
    uint64_t bytes[KINDS];
};

static int init(struct flexnfv_nf *nf, const char *args)
{
    if (*args)
        return flexnfv_fail(nf, "monitor takes no arguments, got '%s'", args);
    nf->state = calloc(1, sizeof(struct monitor));
    return nf->state ? 0 : flexnfv_fail(nf, "out of memory");
}

static enum kind kind_of(const struct rte_mbuf *packet)
{
    if (packet->data_len < sizeof(struct rte_ether_hdr))
        return NOT_IP;
    const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(packet, const struct rte_ether_hdr *);
    uint32_t left = packet->data_len - (uint32_t)sizeof(*ether);
    uint8_t protocol;
    if (ether->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && left >= sizeof(struct rte_ipv4_hdr))
        protocol = ((const struct rte_ipv4_hdr *)(ether + 1))->next_proto_id;
    else if (ether->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) &&
             left >= sizeof(struct rte_ipv6_hdr))
        protocol = ((const struct rte_ipv6_hdr *)(ether + 1))->proto;
    else
        return NOT_IP;
    return protocol == IPPROTO_TCP ? TCP : protocol == IPPROTO_UDP ? UDP : OTHER_IP;
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    struct monitor *monitor = nf->state;
    for (uint16_t i = 0; i < count; i++) {
        enum kind kind = kind_of(packets[i]);
        monitor->packets[kind]++;
        monitor->bytes[kind] += packets[i]->pkt_len;
    }
}

static void teardown(struct flexnfv_nf *nf)
{
    static const char *const names[KINDS] = {"TCP", "UDP", "other IP", "not IP"};
    struct monitor *monitor = nf->state;
    for (int kind = 0; kind < KINDS; kind++)
        printf("%s.%u: %" PRIu64 " packets, %" PRIu64 " bytes %s\n", nf->type_name, nf->info.slot,
               monitor->packets[kind], monitor->bytes[kind], names[kind]);
    free(monitor);
}

static const struct flexnfv_nf_ops ops = {
    .name = "monitor",
    .summary = "counts packets and bytes by protocol",
    .init = init,
    .process = process,
    .teardown = teardown,
};
FLEXNFV_NF(ops)
