#include "capture.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct room {
    size_t packets;
    size_t bytes;
    size_t used;
};

static int grow(struct capture *capture, struct room *room, uint32_t length)
{
    if (capture->count == room->packets) {
        size_t packets = room->packets ? 2 * room->packets : 4096;
        void *grown = realloc(capture->packets, packets * sizeof(*capture->packets));
        if (!grown)
            return -1;
        capture->packets = grown;
        room->packets = packets;
    }
    if (room->used + length > room->bytes) {
        size_t bytes = 2 * room->bytes + length + (1 << 20);
        void *grown = realloc(capture->bytes, bytes);
        if (!grown)
            return -1;
        capture->bytes = grown;
        room->bytes = bytes;
    }
    return 0;
}

static void append(struct capture *capture, struct room *room, const struct pcap_pkthdr *header,
                   const uint8_t *data, uint64_t *first_ns)
{
    /* With nanosecond precision libpcap puts nanoseconds into tv_usec. */
    uint64_t stamp = (uint64_t)header->ts.tv_sec * 1000000000ull + (uint64_t)header->ts.tv_usec;
    uint64_t before = capture->count ? capture->packets[capture->count - 1].time_ns : 0;
    if (capture->count == 0)
        *first_ns = stamp;
    uint64_t time_ns = stamp > *first_ns ? stamp - *first_ns : 0;
    capture->backwards += stamp < *first_ns + before;
    capture->cut += header->caplen < header->len;
    memcpy(capture->bytes + room->used, data, header->caplen);
    capture->packets[capture->count++] = (struct captured){
        .offset = room->used,
        .time_ns = time_ns > before ? time_ns : before,
        .length = header->caplen,
    };
    room->used += header->caplen;
    if (header->caplen > capture->largest)
        capture->largest = header->caplen;
}

static int read_all(struct capture *capture, pcap_t *pcap, const char *path, char *error)
{
    struct room room = {0};
    struct pcap_pkthdr *header;
    const uint8_t *data;
    uint64_t first_ns = 0;
    int status;
    while ((status = pcap_next_ex(pcap, &header, &data)) == 1) {
        if (header->caplen == 0) {
            snprintf(error, ERROR_MAX, "%s: packet %zu is empty; it cannot be sent", path,
                     capture->count + 1);
            return -1;
        }
        if (grow(capture, &room, header->caplen)) {
            snprintf(error, ERROR_MAX, "%s: no memory beyond packet %zu", path, capture->count);
            return -1;
        }
        append(capture, &room, header, data, &first_ns);
    }
    if (status != PCAP_ERROR_BREAK) {
        snprintf(error, ERROR_MAX, "%s: broken behind packet %zu: %s", path, capture->count,
                 pcap_geterr(pcap));
        return -1;
    }
    if (capture->count == 0) {
        snprintf(error, ERROR_MAX, "%s: holds no packets", path);
        return -1;
    }
    return 0;
}

int capture_read(struct capture *capture, const char *path, char error[ERROR_MAX])
{
    char reason[PCAP_ERRBUF_SIZE];
    *capture = (struct capture){0};
    pcap_t *pcap =
        pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, reason);
    if (!pcap) {
        snprintf(error, ERROR_MAX, "%s: no readable capture: %s", path, reason);
        return -1;
    }
    int result = -1;
    if (pcap_datalink(pcap) != DLT_EN10MB)
        snprintf(error, ERROR_MAX, "%s: captured on %s, not on Ethernet", path,
                 pcap_datalink_val_to_description_or_dlt(pcap_datalink(pcap)));
    else
        result = read_all(capture, pcap, path, error);
    pcap_close(pcap);
    if (result)
        capture_free(capture);
    return result;
}

void capture_free(struct capture *capture)
{
    free(capture->packets);
    free(capture->bytes);
    *capture = (struct capture){0};
}
