/* Captured packets (pcap or pcapng, any byte order, read by libpcap), held in memory for replay. */
#ifndef PKTGEN_CAPTURE_H
#define PKTGEN_CAPTURE_H

#include "trace.h"

#include <stddef.h>
#include <stdint.h>

struct captured {
    uint64_t offset;  /* of its first byte in `bytes` */
    uint64_t time_ns; /* since the first packet; never decreasing */
    uint32_t length;
};

struct capture {
    size_t count;
    struct captured *packets;
    uint8_t *bytes;
    uint32_t largest;   /* bytes of the longest packet */
    uint64_t cut;       /* packets that the capture itself cut short (snap length) */
    uint64_t backwards; /* time stamps that stepped back and were held */
};

/* Reads all of `path`; -1 with a one-line reason in `error` when it cannot be used. */
int capture_read(struct capture *capture, const char *path, char error[ERROR_MAX]);
void capture_free(struct capture *capture);

#endif
