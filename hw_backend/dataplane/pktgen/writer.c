#include "writer.h"

#include "capture.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SNAP_LENGTH 65535

struct writer {
    char *path;
    char *unfinished;
    pcap_t *format;
    pcap_dumper_t *dumper;
    uint8_t bytes[SNAP_LENGTH];
};

static void discard(struct writer *writer)
{
    if (writer->dumper)
        pcap_dump_close(writer->dumper);
    if (writer->format)
        pcap_close(writer->format);
    free(writer->path);
    free(writer->unfinished);
    free(writer);
}

struct writer *writer_open(const char *path, char error[ERROR_MAX])
{
    struct writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        goto no_memory;
    writer->path = strdup(path);
    if (!writer->path || asprintf(&writer->unfinished, "%s.part", path) < 0)
        goto no_memory;
    if (access(path, F_OK) == 0) {
        snprintf(error, ERROR_MAX, "%s: exists already; give another file", path);
        goto failed;
    }
    writer->format =
        pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAP_LENGTH, PCAP_TSTAMP_PRECISION_NANO);
    if (!writer->format)
        goto no_memory;
    writer->dumper = pcap_dump_open(writer->format, writer->unfinished);
    if (!writer->dumper) {
        snprintf(error, ERROR_MAX, "%s", pcap_geterr(writer->format));
        goto failed;
    }
    return writer;
no_memory:
    snprintf(error, ERROR_MAX, "%s: no memory", path);
failed:
    if (writer)
        discard(writer);
    return NULL;
}

void writer_add(struct writer *writer, const struct rte_mbuf *packet)
{
    struct timespec now;
    uint32_t kept = RTE_MIN(packet->pkt_len, (uint32_t)SNAP_LENGTH);
    clock_gettime(CLOCK_REALTIME, &now);
    struct pcap_pkthdr header = {
        .ts = {.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec},
        .caplen = kept,
        .len = packet->pkt_len,
    };
    pcap_dump((uint8_t *)writer->dumper, &header, rte_pktmbuf_read(packet, 0, kept, writer->bytes));
}

int writer_close(struct writer *writer, char error[ERROR_MAX])
{
    int failed = pcap_dump_flush(writer->dumper) || ferror(pcap_dump_file(writer->dumper)) ||
                 rename(writer->unfinished, writer->path);
    if (failed)
        snprintf(error, ERROR_MAX, "%s: not written: %s", writer->path, strerror(errno));
    discard(writer);
    return failed ? -1 : 0;
}
