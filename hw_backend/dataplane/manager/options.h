/* What the manager was started with; README.md describes it. */
#ifndef FLEXNFV_OPTIONS_H
#define FLEXNFV_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "manager/log.h"
#include "shared/shared.h"

enum { FX_MAX_NF_CPUS = 128 };

struct fx_options {
    const char *config_path;
    const char *dir;      /* page, socket and log live here */
    const char *prefix;   /* DPDK's --file-prefix */
    const char *nf_path;  /* flexnfv-nf */
    const char *huge_dir; /* NULL: DPDK's choice */
    uint32_t worker_cpus, nf_cpus;
    uint16_t worker_cpu[FX_MAX_WORKERS];
    uint16_t nf_cpu[FX_MAX_NF_CPUS];
    bool pci;      /* probe PCI devices: a NIC is asked for */
    bool tethered; /* end with standard input */
};

extern struct fx_options fx_options;

/* Fills fx_options; -1 with the reason. Ends the process after --help or an unknown option. */
int fx_options_parse(int argc, char **argv, struct fx_error *error);

#endif
