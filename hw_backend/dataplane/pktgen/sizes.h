/* Frame sizes. They count the 4 bytes of FCS, as RFC 2544 does; an mbuf holds that much less. */
#ifndef PKTGEN_SIZES_H
#define PKTGEN_SIZES_H

#include <stdint.h>

#define SIZE_FCS       4
#define SIZE_MIN       64
#define SIZE_MAX_FRAME 9728 /* FX_FRAME_MAX of the dataplane's parser */

/* The simple IMIX (Spirent, 2006): 7 : 4 : 1 of these, spread over twelve packets. */
#define IMIX_CYCLE 12
static const uint16_t imix_sizes[IMIX_CYCLE] = {64, 594, 64, 64, 594, 64,
                                                64, 594, 64, 64, 594, 1518};

#endif
