/*
 * What a generated packet says about itself: the first 18 bytes of its UDP payload, which fit into
 * a 64-byte frame. Big-endian: mark (2), stream (2), flow (4), number within the flow (4), time
 * sent (6, nanoseconds of CLOCK_MONOTONIC modulo 2^48). A stream is one run or one trial: packets
 * of an earlier one that were still under way are told apart by it.
 */
#ifndef PKTGEN_PROBE_H
#define PKTGEN_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PROBE_OFFSET    42 /* behind Ethernet, IPv4 and UDP headers */
#define PROBE_LENGTH    18
#define PROBE_MARK      0xF17E
#define PROBE_TIME_MASK ((1ull << 48) - 1)

struct probe {
    uint16_t stream;
    uint32_t flow;
    uint32_t number;
    uint64_t sent_ns;
};

static inline void probe_write(uint8_t *at, const struct probe *probe)
{
    uint32_t head = __builtin_bswap32((uint32_t)PROBE_MARK << 16 | probe->stream);
    uint32_t flow = __builtin_bswap32(probe->flow), number = __builtin_bswap32(probe->number);
    uint64_t sent = __builtin_bswap64(probe->sent_ns << 16);
    memcpy(at, &head, 4);
    memcpy(at + 4, &flow, 4);
    memcpy(at + 8, &number, 4);
    memcpy(at + 12, &sent, 6);
}

static inline bool probe_read(const uint8_t *at, struct probe *probe)
{
    uint32_t head, flow, number;
    uint64_t sent = 0;
    memcpy(&head, at, 4);
    memcpy(&flow, at + 4, 4);
    memcpy(&number, at + 8, 4);
    memcpy(&sent, at + 12, 6);
    head = __builtin_bswap32(head);
    probe->stream = (uint16_t)head;
    probe->flow = __builtin_bswap32(flow);
    probe->number = __builtin_bswap32(number);
    probe->sent_ns = __builtin_bswap64(sent) >> 16;
    return head >> 16 == PROBE_MARK;
}

#endif
