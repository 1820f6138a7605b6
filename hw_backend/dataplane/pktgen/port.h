/* DPDK itself and its ports. Failures here end the process with one line and exit code 1. */
#ifndef PKTGEN_PORT_H
#define PKTGEN_PORT_H

#include "options.h"

#include <rte_mempool.h>
#include <stdint.h>

#define EXIT_PORT_FAILED 1

struct ports {
    struct rte_mempool *pool;
    uint16_t tx;
    uint16_t rx; /* may be the same */
    bool tx_started;
    bool rx_started;
};

/* Starts DPDK and the ports for frames of up to `largest` bytes without FCS. */
void ports_open(struct ports *ports, const struct options *options, uint32_t largest);

/* Asks for the links; a memif client connects, or starts at last, when it is asked. */
bool ports_link_up(struct ports *ports);
void ports_close(struct ports *ports);

#endif
