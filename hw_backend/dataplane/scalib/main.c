/*
 * flexnfv-nf: one NF process. The manager starts it; by hand it only lists its functions.
 *
 *     flexnfv-nf --list
 *     flexnfv-nf PREFIX SLOT CPUS [HUGE_DIR]     (with the descriptors of shared.h inherited)
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_memzone.h>

#include "scalib/process.h"

/* What this program was built for; the tests build one for another version. */
#ifndef FX_ABI_CLAIMED
#define FX_ABI_CLAIMED FX_ABI_VERSION
#endif

static int list(void)
{
    for (const struct flexnfv_nf_ops *const *ops = flexnfv_functions(); *ops; ops++)
        printf("%s\t%s\t%s\t%s\n", (*ops)->name, (*ops)->stateful ? "stateful" : "stateless",
               (*ops)->summary, (*ops)->args ? (*ops)->args : "");
    return 0;
}

/* Without its manager an NF is of no use to anyone, and keeps a new manager from starting. */
static void *watch_manager(void *unused)
{
    struct pollfd manager = {.fd = FX_FD_MANAGER, .events = POLLIN};
    while (poll(&manager, 1, -1) < 0)
        ;
    fprintf(stderr, "the manager is gone, so is this NF\n");
    _exit(3); /* at once, since another thread is at work; the next manager removes our files */
    return unused;
}

static void eal_init(const char *prefix, int process, const char *cpus, const char *huge_dir)
{
    char *prefix_arg, *lcores_arg, *huge_arg;
    if (asprintf(&prefix_arg, "--file-prefix=%s", prefix) < 0 ||
        asprintf(&lcores_arg, "--lcores=%d@(%s)", FX_FIRST_NF_LCORE + process, cpus) < 0 ||
        asprintf(&huge_arg, "--huge-dir=%s", huge_dir ? huge_dir : "") < 0)
        _exit(2);
    char *argv[] = {
        "flexnfv-nf", "--proc-type=secondary", prefix_arg,          lcores_arg,
        "--no-pci",   "--no-telemetry",        "--log-level=error", huge_dir ? huge_arg : NULL,
        NULL};
    if (rte_eal_init(huge_dir ? 8 : 7, argv) < 0) {
        fprintf(stderr, "flexnfv-nf: cannot attach to the manager '%s'\n", prefix);
        _exit(2);
    }
}

static struct fx_shared *attach(int process)
{
    const struct rte_memzone *zone = rte_memzone_lookup(FX_MEMZONE);
    if (!zone)
        return NULL;
    struct fx_shared *shared = zone->addr;
    if (shared->magic != FX_MAGIC || shared->abi_version != FX_ABI_CLAIMED ||
        shared->size != sizeof(*shared)) {
        fprintf(stderr,
                "flexnfv-nf: the manager has ABI version %u, this NF %u: build both together\n",
                shared->abi_version, FX_ABI_CLAIMED);
        return NULL;
    }
    /* The manager that started this NF was killed meanwhile, and this one knows nothing of it. */
    if (shared->manager_pid != getppid()) {
        fprintf(stderr, "flexnfv-nf: process %d did not start this NF\n", shared->manager_pid);
        _exit(3);
    }
    return process >= 0 && process < FX_MAX_PROCESSES ? shared : NULL;
}

/* A spare parks here until it is given an instance, or told to leave. */
static int32_t await_instance(struct fx_process_slot *process)
{
    uint32_t call = atomic_load(&process->call);
    int32_t instance = atomic_load(&process->instance);
    if (instance != FX_PROCESS_SPARE)
        return instance;
    atomic_store_explicit(&process->phase, FX_PHASE_SPARE, memory_order_release);
    fx_tell_manager();
    while (atomic_load_explicit(&process->call, memory_order_acquire) == call)
        fx_sleep(&process->call, call, 0);
    return atomic_load(&process->instance);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "flexnfv-nf is started by flexnfv-manager; try flexnfv-nf --list\n");
        return 2;
    }
    /* Other descriptors of the manager are closed: file locks that it holds must end with it. */
    close_range(FX_FD_EVENT + 1, ~0u, 0);
    int index = atoi(argv[2]);
    eal_init(argv[1], index, argv[3], argc == 5 ? argv[4] : NULL);
    struct fx_shared *shared = attach(index);
    pthread_t watcher;
    int result = 2;
    if (shared && pthread_create(&watcher, NULL, watch_manager, NULL) == 0) {
        struct fx_process_slot *process = &shared->process[index];
        int32_t instance = await_instance(process);
        result = instance == FX_PROCESS_LEAVE ? 0 : fx_serve(shared, process, instance);
    }
    /* The process ends without DPDK's clean-up, which is slow and takes locks: the manager removes
     * the files of any NF that has ended. */
    fflush(NULL);
    _exit(result);
}
