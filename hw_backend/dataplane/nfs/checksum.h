/* Internet checksums kept up to date as a header changes (RFC 1624, equation 3). */
#ifndef FX_NF_CHECKSUM_H
#define FX_NF_CHECKSUM_H

#include <stdint.h>
#include <string.h>

/* The checksum at `at` after one 16-bit word under it went from `before` to `after`. All are as
 * they stand in the packet: the sum does not care about byte order as long as it is one. */
static inline void fx_checksum_word(uint8_t *at, uint16_t before, uint16_t after)
{
    uint16_t checksum;
    memcpy(&checksum, at, sizeof(checksum));
    uint32_t sum = (uint16_t)~checksum + (uint16_t)~before + after;
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    checksum = (uint16_t)~sum;
    memcpy(at, &checksum, sizeof(checksum));
}

/* The same for an IPv4 address. */
static inline void fx_checksum_address(uint8_t *at, uint32_t before, uint32_t after)
{
    uint16_t old[2], new[2];
    memcpy(old, &before, sizeof(old));
    memcpy(new, &after, sizeof(new));
    fx_checksum_word(at, old[0], new[0]);
    fx_checksum_word(at, old[1], new[1]);
}

#endif
