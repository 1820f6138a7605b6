#define _GNU_SOURCE
#include "manager/eal.h"

#include <sched.h>
#include <stdio.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "common/cpus.h"
#include "dpdk_internals/files.h"
#include "manager/manager.h"
#include "manager/memory.h"
#include "manager/options.h"

static struct fx_manager *const mgr = &fx_manager;

/* Lcore 0 is the control thread, which may run on any CPU; the workers come behind it. */
static void name_lcores(char *lcores, size_t size)
{
    char all[FX_CPUS_TEXT];
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof(allowed), &allowed);
    fx_cpus_text(&allowed, all);
    size_t used = (size_t)snprintf(lcores, size, "--lcores=0@(%s)", all);
    for (uint32_t i = 0; i < mgr->workers; i++)
        used += (size_t)snprintf(lcores + used, size - used, ",%u@%u", i + 1,
                                 fx_options.worker_cpu[i % fx_options.worker_cpus]);
}

int fx_eal_init(struct fx_error *error)
{
    char prefix[128], memory[32], lcores[FX_CPUS_TEXT + 128], huge[512];
    int argc = 0;
    char *argv[16];
    uint32_t megabytes = fx_memory_plan();
    name_lcores(lcores, sizeof(lcores));
    snprintf(prefix, sizeof(prefix), "--file-prefix=%s", fx_options.prefix);
    snprintf(memory, sizeof(memory), "-m%u", megabytes);
    argv[argc++] = "flexnfv-manager";
    argv[argc++] = "--proc-type=primary";
    argv[argc++] = prefix;
    argv[argc++] = lcores;
    argv[argc++] = "--main-lcore=0";
    argv[argc++] = memory;
    argv[argc++] = "--single-file-segments";
    argv[argc++] = "--log-level=error";
    if (!fx_options.pci)
        argv[argc++] = "--no-pci";
    if (fx_options.huge_dir) {
        if ((size_t)snprintf(huge, sizeof(huge), "--huge-dir=%s", fx_options.huge_dir) >=
            sizeof(huge))
            return fx_fail(error, "--huge-dir %.60s...: the path is too long", fx_options.huge_dir);
        argv[argc++] = huge;
    }
    fx_files_wait_for_orphans(fx_options.prefix);
    if (rte_eal_init(argc, argv) < 0)
        return fx_fail(error,
                       "DPDK does not start with %u MB of huge pages and prefix '%s' (%s): enough "
                       "huge pages free? sysctl vm.nr_hugepages=%u",
                       megabytes, fx_options.prefix, rte_strerror(rte_errno), megabytes);
    return 0;
}
