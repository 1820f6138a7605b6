/* forwarder: sends packets on, with new destination MAC addresses where asked (the paper's NF2). */
#include <stdlib.h>

#include <rte_ether.h>

#include "nfs/options.h"
#include "scalib/scalib.h"

static int init(struct flexnfv_nf *nf, const char *args)
{
    struct nf_option dst = {.name = "dst"};
    if (nf_options_read(nf, args, &dst, 1) != 0)
        return -1;
    if (!dst.value)
        return 0;
    struct rte_ether_addr *next = malloc(sizeof(*next));
    nf->state = next;
    if (!next)
        return flexnfv_fail(nf, "out of memory");
    if (rte_ether_unformat_addr(dst.value, next) != 0)
        return flexnfv_fail(nf, "dst=%s: give dst=MAC, such as dst=02:00:00:00:00:01", dst.value);
    return 0;
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    const struct rte_ether_addr *next = nf->state;
    for (uint16_t i = 0; next && i < count; i++)
        if (packets[i]->data_len >= sizeof(struct rte_ether_hdr))
            rte_pktmbuf_mtod(packets[i], struct rte_ether_hdr *)->dst_addr = *next;
}

static void teardown(struct flexnfv_nf *nf)
{
    free(nf->state);
}

static const struct flexnfv_nf_ops ops = {
    .name = "forwarder",
    .summary = "sends packets on, to another MAC address where asked",
    .args = "dst=MAC, the new destination address; without it packets stay as they are",
    .init = init,
    .process = process,
    .teardown = teardown,
};
FLEXNFV_NF(ops)
