#include "tx.h"

#include "probe.h"
#include "sizes.h"

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_udp.h>

#define PREFETCH_AHEAD 4

/* One cache line a flow: its headers, ready but for the lengths. */
struct flow_header {
    uint8_t bytes[PROBE_OFFSET];
    uint16_t sum; /* of the IP header without the total length, not complemented */
    uint32_t next;
} __rte_cache_aligned;

static void write_headers(struct flow_header *header, const struct options *options,
                          const struct five_tuple *tuple)
{
    struct rte_ether_hdr *ethernet = (struct rte_ether_hdr *)header->bytes;
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(ethernet + 1);
    struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
    memset(header, 0, sizeof(*header));
    memcpy(&ethernet->dst_addr, options->dst_mac, MAC_LENGTH);
    memcpy(&ethernet->src_addr, options->src_mac, MAC_LENGTH);
    ethernet->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    ip->version_ihl = RTE_IPV4_VHL_DEF;
    ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
    ip->time_to_live = 64;
    ip->next_proto_id = IPPROTO_UDP;
    ip->src_addr = rte_cpu_to_be_32(tuple->src_ip);
    ip->dst_addr = rte_cpu_to_be_32(tuple->dst_ip);
    /* The UDP checksum stays 0, which IPv4 allows: an NF may then change the payload freely. */
    udp->src_port = rte_cpu_to_be_16(tuple->src_port);
    udp->dst_port = rte_cpu_to_be_16(tuple->dst_port);
    header->sum = rte_raw_cksum(ip, sizeof(*ip));
}

int sender_init(struct sender *sender, const struct options *options, const struct capture *capture,
                uint16_t port, struct rte_mempool *pool)
{
    *sender =
        (struct sender){.port = port, .pool = pool, .capture = capture, .imix = options->imix};
    if (capture)
        return 0;
    sender->headers = aligned_alloc(RTE_CACHE_LINE_SIZE, options->flows * sizeof(*sender->headers));
    if (!sender->headers)
        return -1;
    for (uint32_t flow = 0; flow < options->flows; flow++) {
        struct five_tuple tuple = flow_tuple(options->seed, flow);
        write_headers(&sender->headers[flow], options, &tuple);
    }
    return picker_init(&sender->picker, options->flows, options->zipf, options->seed);
}

void sender_restart(struct sender *sender, uint16_t stream)
{
    sender_drop_pending(sender);
    sender->stream = stream;
    sender->built = sender->sent = sender->sent_bytes = 0;
    for (uint32_t flow = 0; flow < sender->picker.count; flow++)
        sender->headers[flow].next = 0;
}

static void build_probe(struct sender *sender, struct rte_mbuf *packet, uint32_t flow,
                        uint16_t size, uint64_t now_ns)
{
    struct flow_header *header = &sender->headers[flow];
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    uint16_t length = size - SIZE_FCS;
    uint16_t ip_length = rte_cpu_to_be_16((uint16_t)(length - sizeof(struct rte_ether_hdr)));
    uint16_t udp_length = rte_cpu_to_be_16(
        (uint16_t)(length - sizeof(struct rte_ether_hdr) - sizeof(struct rte_ipv4_hdr)));
    uint32_t sum = (uint32_t)header->sum + ip_length;
    rte_memcpy(data, header->bytes, PROBE_OFFSET);
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(data + sizeof(struct rte_ether_hdr));
    ip->total_length = ip_length;
    ip->hdr_checksum = (uint16_t) ~((sum & 0xFFFF) + (sum >> 16));
    ((struct rte_udp_hdr *)(ip + 1))->dgram_len = udp_length;
    probe_write(data + PROBE_OFFSET, &(struct probe){.stream = sender->stream,
                                                     .flow = flow,
                                                     .number = header->next++,
                                                     .sent_ns = now_ns});
    memset(data + PROBE_OFFSET + PROBE_LENGTH, 0, length - PROBE_OFFSET - PROBE_LENGTH);
    packet->data_len = length;
    packet->pkt_len = length;
}

static void build_burst(struct sender *sender, uint32_t count, uint16_t size, uint64_t now_ns)
{
    uint32_t flows[TX_BURST];
    for (uint32_t i = 0; i < count; i++)
        flows[i] = picker_next(&sender->picker);
    for (uint32_t i = 0; i < RTE_MIN(count, (uint32_t)PREFETCH_AHEAD); i++)
        rte_prefetch0(&sender->headers[flows[i]]);
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count)
            rte_prefetch0(&sender->headers[flows[i + PREFETCH_AHEAD]]);
        uint16_t frame = sender->imix ? imix_sizes[sender->built % IMIX_CYCLE] : size;
        build_probe(sender, sender->pending[i], flows[i], frame, now_ns);
        sender->built++;
    }
}

static void copy_captured(struct sender *sender, uint32_t count)
{
    const struct capture *capture = sender->capture;
    for (uint32_t i = 0; i < count; i++) {
        const struct captured *captured = &capture->packets[sender->built++ % capture->count];
        struct rte_mbuf *packet = sender->pending[i];
        rte_memcpy(rte_pktmbuf_mtod(packet, void *), capture->bytes + captured->offset,
                   captured->length);
        packet->data_len = (uint16_t)captured->length;
        packet->pkt_len = captured->length;
    }
}

/* Hands the pending packets to the port; what it refuses moves to the front. */
static uint32_t flush(struct sender *sender)
{
    uint32_t lengths[TX_BURST], count = sender->pending_count;
    for (uint32_t i = 0; i < count; i++)
        lengths[i] = sender->pending[i]->pkt_len;
    uint32_t taken = rte_eth_tx_burst(sender->port, 0, sender->pending, (uint16_t)count);
    for (uint32_t i = 0; i < taken; i++)
        sender->sent_bytes += lengths[i];
    if (taken && taken < count)
        memmove(sender->pending, sender->pending + taken, (count - taken) * sizeof(void *));
    sender->pending_count = count - taken;
    sender->sent += taken;
    return taken;
}

uint64_t sender_send(struct sender *sender, uint64_t wanted, uint16_t size, uint64_t now_ns)
{
    uint64_t taken = 0;
    while (taken < wanted) {
        if (sender->pending_count == 0) {
            uint32_t count = (uint32_t)RTE_MIN(wanted - taken, (uint64_t)TX_BURST);
            if (rte_pktmbuf_alloc_bulk(sender->pool, sender->pending, count))
                break;
            sender->pending_count = count;
            if (sender->capture)
                copy_captured(sender, count);
            else
                build_burst(sender, count, size, now_ns);
        }
        taken += flush(sender);
        if (sender->pending_count)
            break;
    }
    return taken;
}

void sender_flush(struct sender *sender)
{
    if (sender->pending_count)
        flush(sender);
}

void sender_drop_pending(struct sender *sender)
{
    rte_pktmbuf_free_bulk(sender->pending, sender->pending_count);
    sender->pending_count = 0;
}

void sender_free(struct sender *sender)
{
    sender_drop_pending(sender);
    free(sender->headers);
    if (sender->picker.count)
        picker_free(&sender->picker);
}
