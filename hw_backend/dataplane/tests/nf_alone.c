/*
 * One NF without a manager: reads packets from a capture, hands them to the NF in bursts, and
 * writes what it let pass to another. For the tests of NFs; needs neither root nor huge pages.
 *
 *     nf_alone NAME ARGS INPUT.pcap OUTPUT.pcap
 *
 * Ends with 2 and the NF's reason where its arguments are refused. The line on standard error
 * counts packets in, passed and dropped, and the processing time per packet.
 */
#include <inttypes.h>
#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>

#include "scalib/scalib.h"

#define NFS_MAX 32

static const struct flexnfv_nf_ops *registered[NFS_MAX];
static int registered_count;

void flexnfv_register(const struct flexnfv_nf_ops *ops)
{
    if (registered_count < NFS_MAX)
        registered[registered_count++] = ops;
}

/* Alone, there is no manager to launch any. */
int scalib_launch_nfs(struct flexnfv_nf_info *info, uint16_t num_nfs)
{
    (void)info;
    (void)num_nfs;
    return 0;
}

int flexnfv_fail(struct flexnfv_nf *nf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", nf->ops->name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return -1;
}

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "nf_alone: %s: %s\n", what, why);
    exit(2);
}

static struct rte_mempool *start_dpdk(const char *program)
{
    char *argv[] = {
        strdup(program), "--no-huge", "--no-shconf", "--no-pci",    "--no-telemetry", "-m",
        "512",           "-l",        "0",           "--log-level", "error"};
    if (rte_eal_init(sizeof(argv) / sizeof(argv[0]), argv) < 0)
        fail("DPDK", "does not start");
    struct rte_mempool *pool = rte_pktmbuf_pool_create("packets", 1023, 0, 0, 10240, SOCKET_ID_ANY);
    if (!pool)
        fail("DPDK", "no packet pool");
    return pool;
}

struct run {
    struct flexnfv_nf nf;
    pcap_t *input;
    pcap_dumper_t *output;
    struct rte_mempool *pool;
    uint64_t packets, dropped, cycles;
};

static uint16_t read_burst(struct run *run, struct rte_mbuf **burst, struct pcap_pkthdr *headers)
{
    uint16_t count = 0;
    struct pcap_pkthdr *header;
    const u_char *bytes;
    while (count < FX_BURST && pcap_next_ex(run->input, &header, &bytes) == 1) {
        struct rte_mbuf *packet = rte_pktmbuf_alloc(run->pool);
        char *data = packet ? rte_pktmbuf_append(packet, (uint16_t)header->caplen) : NULL;
        if (!data)
            fail("packet", "longer than 10 KB");
        memcpy(data, bytes, header->caplen);
        packet->hash.fdir.hi = 0;
        headers[count] = *header;
        burst[count++] = packet;
    }
    return count;
}

static void write_burst(struct run *run, struct rte_mbuf **burst, struct pcap_pkthdr *headers,
                        uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (burst[i]->hash.fdir.hi & FX_META_DROP) {
            run->dropped++;
        } else {
            headers[i].caplen = headers[i].len = burst[i]->data_len;
            pcap_dump((u_char *)run->output, &headers[i],
                      rte_pktmbuf_mtod(burst[i], const u_char *));
        }
        rte_pktmbuf_free(burst[i]);
    }
}

static void run_all(struct run *run)
{
    struct rte_mbuf *burst[FX_BURST];
    struct pcap_pkthdr headers[FX_BURST];
    uint16_t count;
    while ((count = read_burst(run, burst, headers)) > 0) {
        uint64_t start = rte_rdtsc();
        run->nf.ops->process(&run->nf, burst, count);
        run->cycles += rte_rdtsc() - start;
        run->packets += count;
        write_burst(run, burst, headers, count);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("usage", "nf_alone NAME ARGS INPUT.pcap OUTPUT.pcap");
    struct run run = {.pool = start_dpdk(argv[0])};
    for (int i = 0; i < registered_count; i++)
        if (strcmp(registered[i]->name, argv[1]) == 0)
            run.nf.ops = registered[i];
    if (!run.nf.ops)
        fail(argv[1], "no such NF");
    snprintf(run.nf.type_name, sizeof(run.nf.type_name), "%s", argv[1]);
    char why[PCAP_ERRBUF_SIZE];
    if (!(run.input = pcap_open_offline(argv[3], why)))
        fail(argv[3], why);
    if (!(run.output = pcap_dump_open(run.input, argv[4])))
        fail(argv[4], pcap_geterr(run.input));
    if (run.nf.ops->init && run.nf.ops->init(&run.nf, argv[2]) != 0)
        return 2;
    run_all(&run);
    if (run.nf.ops->teardown)
        run.nf.ops->teardown(&run.nf);
    pcap_dump_close(run.output);
    pcap_close(run.input);
    fprintf(stderr, "packets=%" PRIu64 " passed=%" PRIu64 " dropped=%" PRIu64 " ns=%.1f\n",
            run.packets, run.packets - run.dropped, run.dropped,
            run.packets ? (double)run.cycles * 1e9 / (double)rte_get_tsc_hz() / (double)run.packets
                        : 0.0);
    rte_eal_cleanup();
    return 0;
}
