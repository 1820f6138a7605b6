#include "rx.h"

#include "clock.h"
#include "probe.h"

#include <assert.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>

static_assert(RX_BURST <= DECRYPT_BURST, "a burst is decrypted at once");

#define NETWORK_MASK        0xFFFF0000u
#define SOURCE_NETWORK      RTE_IPV4(198, 18, 0, 0)
#define DESTINATION_NETWORK RTE_IPV4(198, 19, 0, 0)

int receiver_init(struct receiver *receiver, const struct options *options, uint16_t port,
                  struct writer *writer)
{
    *receiver = (struct receiver){
        .port = port,
        .writer = writer,
        .any_packet = options->workload == WORKLOAD_CAPTURE,
        .any_stream = options->workload == WORKLOAD_NONE,
    };
    if (options->decrypts && !(receiver->decrypter = decrypter_new(options->key, options->nonce)))
        return -1;
    return tracker_init(&receiver->tracker, options->flows);
}

void receiver_restart(struct receiver *receiver, uint16_t stream)
{
    receiver->stream = stream;
    receiver->stream_known = !receiver->any_stream;
    receiver->received = receiver->received_bytes = 0;
    receiver->unreadable = receiver->foreign = 0;
    tracker_clear(&receiver->tracker);
    histogram_clear(&receiver->latency);
    histogram_clear(&receiver->period_latency);
}

/* One address in its network is enough: a NAT or a router may have changed the other. */
static bool of_flow_set(const uint8_t *data, uint32_t length)
{
    const struct rte_ether_hdr *ethernet = (const struct rte_ether_hdr *)data;
    const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(ethernet + 1);
    if (length < PROBE_OFFSET || ethernet->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
        return false;
    return (rte_be_to_cpu_32(ip->src_addr) & NETWORK_MASK) == SOURCE_NETWORK ||
           (rte_be_to_cpu_32(ip->dst_addr) & NETWORK_MASK) == DESTINATION_NETWORK;
}

static bool of_this_stream(struct receiver *receiver, const struct probe *probe)
{
    if (!receiver->stream_known) {
        receiver->stream = probe->stream;
        receiver->stream_known = true;
    }
    return probe->stream == receiver->stream && probe->flow < receiver->tracker.flows;
}

static void count_probe(struct receiver *receiver, const struct probe *probe, uint64_t now_ns)
{
    if (!of_this_stream(receiver, probe)) {
        receiver->foreign++;
        return;
    }
    tracker_see(&receiver->tracker, probe->flow, probe->number);
    histogram_add(&receiver->period_latency, (now_ns - probe->sent_ns) & PROBE_TIME_MASK);
}

/* Counts all packets but those of the flow set whose probe cannot be read as it is: these it puts
 * into `unreadable` and returns their number. */
static uint32_t count_plain(struct receiver *receiver, struct rte_mbuf **packets, uint32_t count,
                            const uint8_t **unreadable, uint64_t now_ns)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *data = rte_pktmbuf_mtod(packets[i], const uint8_t *);
        uint32_t length = packets[i]->data_len;
        struct probe probe;
        if (length >= PROBE_OFFSET + PROBE_LENGTH && probe_read(data + PROBE_OFFSET, &probe))
            count_probe(receiver, &probe, now_ns);
        else if (!of_flow_set(data, length))
            receiver->foreign++;
        else if (length >= PROBE_OFFSET + PROBE_LENGTH)
            unreadable[left++] = data;
        else
            receiver->unreadable++;
    }
    return left;
}

static void count_encrypted(struct receiver *receiver, const uint8_t **frames, uint32_t count,
                            uint64_t now_ns)
{
    const uint8_t(*probes)[PROBE_LENGTH] = decrypter_probes(receiver->decrypter, frames, count);
    for (uint32_t i = 0; i < count; i++) {
        struct probe probe;
        if (probe_read(probes[i], &probe))
            count_probe(receiver, &probe, now_ns);
        else
            receiver->unreadable++;
    }
}

static void measure(struct receiver *receiver, struct rte_mbuf **packets, uint32_t count)
{
    const uint8_t *unreadable[RX_BURST];
    uint64_t now_ns = clock_ns();
    if (receiver->any_packet)
        return;
    uint32_t left = count_plain(receiver, packets, count, unreadable, now_ns);
    if (left && receiver->decrypter)
        count_encrypted(receiver, unreadable, left, now_ns);
    else
        receiver->unreadable += left;
}

uint32_t receiver_poll(struct receiver *receiver, uint32_t bursts)
{
    struct rte_mbuf *packets[RX_BURST];
    uint32_t total = 0;
    while (bursts-- > 0) {
        uint16_t count = rte_eth_rx_burst(receiver->port, 0, packets, RX_BURST);
        if (count == 0)
            break;
        measure(receiver, packets, count);
        for (uint16_t i = 0; i < count; i++) {
            receiver->received_bytes += packets[i]->pkt_len;
            if (receiver->writer)
                writer_add(receiver->writer, packets[i]);
        }
        rte_pktmbuf_free_bulk(packets, count);
        total += count;
    }
    receiver->received += total;
    return total;
}

uint64_t receiver_delivered(const struct receiver *receiver)
{
    return receiver->any_packet ? receiver->received
                                : receiver->tracker.unique + receiver->unreadable;
}

void receiver_end_period(struct receiver *receiver)
{
    histogram_merge(&receiver->latency, &receiver->period_latency);
    histogram_clear(&receiver->period_latency);
}

void receiver_free(struct receiver *receiver)
{
    tracker_free(&receiver->tracker);
    decrypter_free(receiver->decrypter);
}
