/* The command line: parsed and checked as a whole before anything is opened. */
#ifndef PKTGEN_OPTIONS_H
#define PKTGEN_OPTIONS_H

#include "decrypt.h"

#include <stdbool.h>
#include <stdint.h>

#define MAC_LENGTH 6

enum workload {
    WORKLOAD_FLOWS,   /* packets of the flow set */
    WORKLOAD_CAPTURE, /* the packets of a capture */
    WORKLOAD_NONE,    /* receive alone */
};

enum pace {
    PACE_RATE,      /* constant */
    PACE_UNLIMITED, /* as fast as the port takes packets */
    PACE_TRACE,     /* a rate trace */
    PACE_RECORDED,  /* the capture's own times */
};

struct options {
    const char *port;    /* EAL device arguments or PCI address */
    const char *rx_port; /* the same; NULL for the sending port */
    bool receive;
    enum workload workload;
    enum pace pace;
    double rate; /* packets/s of PACE_RATE */
    const char *trace;
    const char *capture;
    const char *write; /* capture file of what is received, or NULL */
    double time_scale;
    double rate_scale;
    uint64_t passes; /* 0: for ever */
    uint64_t duration_ns;
    uint64_t count;
    uint16_t size;
    bool imix;
    uint32_t flows;
    double zipf;
    uint64_t seed;
    uint8_t src_mac[MAC_LENGTH];
    uint8_t dst_mac[MAC_LENGTH];
    bool decrypts; /* the encryptor's key was given */
    uint8_t key[DECRYPT_KEY_LENGTH];
    uint8_t nonce[DECRYPT_NONCE_LENGTH];
    bool search;
    double min_pps;
    double max_pps; /* 0: no limit stated */
    uint64_t trial_ns;
    double tolerance;
    double resolution;
    uint64_t period_ns;
    uint64_t tick_ns;
    bool poll;
    bool control;
    uint64_t backlog_ns;
    uint64_t drain_ns;
    uint64_t link_wait_ns;
    uint32_t descriptors;
    const char *cpus;   /* list as in 0,2-3; NULL for wherever the process may run */
    const char *prefix; /* NULL for one of its own */
    bool huge_pages;
    bool verbose;
    bool list_flows;
};

/* Fills *options; on bad input exits through bad_input(), on --help and --version with 0. */
void options_parse(struct options *options, int argc, char **argv);

#endif
