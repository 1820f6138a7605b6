#define _GNU_SOURCE
#include "manager/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_ring.h>

#include "common/cpus.h"
#include "dpdk_internals/files.h"
#include "dpdk_internals/locks.h"
#include "manager/events.h"
#include "manager/options.h"

enum {
    REFILL_PAUSE_NS = 1000000000, /* after a spare that died */
    GOODBYE_MS = 1000,            /* for NFs to leave when asked */
};

struct fx_process fx_process[FX_MAX_PROCESSES];

static struct fx_manager *const mgr = &fx_manager;
static int pidfd_of_manager, log_fd;
static uint64_t refill_after_ns;
static uint32_t instances_on_cpu[1024];
extern char **environ;

/* --- before the start ----------------------------------------------------------------------- */

static void mark_function(char *line, bool *known)
{
    char *more, *name = strtok_r(line, "\t\n", &more), *kind = strtok_r(NULL, "\t\n", &more);
    if (!name || !kind)
        return;
    for (uint32_t t = 0; t < mgr->config.types; t++)
        if (strcmp(mgr->config.type[t].function, name) == 0) {
            known[t] = true;
            mgr->config.type[t].stateful = strcmp(kind, "stateful") == 0;
        }
}

/* Run to completion: an instance of type 0 keeps the state of all functions that it runs. */
static int check_states(struct fx_error *error)
{
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        const struct fx_type_config *type = &mgr->config.type[t];
        struct fx_type_config *process = &mgr->config.type[mgr->config.replicas ? 0 : t];
        process->stateful |= type->stateful;
        if (!fx_mapping_allowed(process, process->mapping))
            return fx_fail(error,
                           "type %s: %s keeps state per flow: give it mapping=rendezvous or max=1",
                           process->name, type->function);
    }
    return 0;
}

int fx_processes_check_functions(struct fx_error *error)
{
    char command[1024], line[512];
    bool known[FX_MAX_TYPES] = {false};
    if (strchr(fx_options.nf_path, '\'') || access(fx_options.nf_path, X_OK) != 0)
        return fx_fail(error, "%.120s: no NF program there, give --nf PATH", fx_options.nf_path);
    snprintf(command, sizeof(command), "'%s' --list", fx_options.nf_path);
    FILE *list = popen(command, "r");
    if (!list)
        return fx_fail(error, "%.120s: %s", fx_options.nf_path, strerror(errno));
    while (fgets(line, sizeof(line), list))
        mark_function(line, known);
    pclose(list);
    for (uint32_t t = 0; t < mgr->config.types; t++)
        if (!known[t])
            return fx_fail(error, "type %s: there is no NF function '%s' (flexnfv-nf --list)",
                           mgr->config.type[t].name, mgr->config.type[t].function);
    return check_states(error);
}

int fx_processes_init(struct fx_error *error)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/nf.log", fx_options.dir);
    log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pidfd_of_manager = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (log_fd < 0 || pidfd_of_manager < 0)
        return fx_fail(error, "%.120s: %s", path, strerror(errno));
    return 0;
}

/* --- starting ------------------------------------------------------------------------------- */

static int free_slot(void)
{
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++)
        if (fx_process[slot].pid == 0)
            return slot;
    return -1;
}

static uint16_t quietest_cpu(const struct fx_process_slot *shared)
{
    uint16_t best = fx_options.nf_cpu[0];
    uint32_t fewest = UINT32_MAX;
    for (uint32_t i = 0; i < fx_options.nf_cpus; i++) {
        uint16_t cpu = fx_options.nf_cpu[i];
        uint32_t load = instances_on_cpu[cpu];
        for (uint32_t k = 0; k < shared->cpus; k++)
            load += shared->cpu[k] == cpu;
        if (load < fewest) {
            fewest = load;
            best = cpu;
        }
    }
    return best;
}

/* Gives the process the cores that its type asks for. */
static void place(struct fx_process_slot *shared, int instance)
{
    shared->cpus = 0;
    uint32_t cores = mgr->config.type[fx_type_of((uint32_t)instance)].cores;
    while (shared->cpus < RTE_MIN(cores, (uint32_t)FX_MAX_CPUS)) {
        shared->cpu[shared->cpus] = quietest_cpu(shared);
        shared->cpus++;
    }
    for (uint32_t i = 0; i < shared->cpus; i++)
        instances_on_cpu[shared->cpu[i]]++;
    mgr->instance[instance].cpu = shared->cpu[0];
}

static void give_back(struct fx_process_slot *shared)
{
    for (uint32_t i = 0; i < shared->cpus; i++)
        instances_on_cpu[shared->cpu[i]]--;
    shared->cpus = 0;
}

static int spawn(int slot, int *pid)
{
    char slot_text[16], cpus[FX_CPUS_TEXT];
    cpu_set_t set;
    snprintf(slot_text, sizeof(slot_text), "%d", slot);
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < fx_options.nf_cpus; i++)
        CPU_SET(fx_options.nf_cpu[i], &set);
    fx_cpus_text(&set, cpus);
    char *argv[] = {(char *)fx_options.nf_path,
                    (char *)fx_options.prefix,
                    slot_text,
                    cpus,
                    (char *)fx_options.huge_dir,
                    NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    /* Descriptors that are duplicated stay open in the new program. They go by way of high numbers,
     * since 3 and 4 may be in use here, perhaps by one of these descriptors. */
    posix_spawn_file_actions_adddup2(&actions, pidfd_of_manager, 1003);
    posix_spawn_file_actions_adddup2(&actions, mgr->event_fd, 1004);
    posix_spawn_file_actions_adddup2(&actions, log_fd, 1);
    posix_spawn_file_actions_adddup2(&actions, log_fd, 2);
    posix_spawn_file_actions_adddup2(&actions, 1003, FX_FD_MANAGER);
    posix_spawn_file_actions_adddup2(&actions, 1004, FX_FD_EVENT);
    posix_spawnattr_init(&attributes);
    /* A process group of its own, so that Ctrl-C reaches the manager alone. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    int error = posix_spawn(pid, fx_options.nf_path, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

int fx_process_start(int instance, struct fx_error *error)
{
    int slot = free_slot(), pid;
    if (slot < 0)
        return fx_fail(error, "%d NF processes are alive, no more fit", FX_MAX_PROCESSES);
    struct fx_process_slot *shared = &mgr->shared->process[slot];
    struct fx_process *process = &fx_process[slot];
    atomic_store(&shared->phase, FX_PHASE_STARTING);
    atomic_store(&shared->obeyed, 0);
    atomic_store(&shared->wanted, 0);
    shared->reason[0] = '\0';
    atomic_store(&shared->instance, instance);
    shared->cpus = 0;
    if (instance >= 0)
        place(shared, instance);
    int failure = spawn(slot, &pid);
    if (failure) {
        give_back(shared);
        return fx_fail(error, "%.100s: %s", fx_options.nf_path, strerror(failure));
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    *process = (struct fx_process){
        .pid = pid, .pidfd = pidfd, .instance = instance, .started_ns = fx_now_ns()};
    if (pidfd < 0 || fx_watch(pidfd, FX_EVENT_PROCESS, (uint32_t)slot) != 0)
        fx_log("NF process %d cannot be watched: %s", pid, strerror(errno));
    return slot;
}

int fx_process_wake_spare(int instance)
{
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++) {
        struct fx_process *process = &fx_process[slot];
        if (process->pid == 0 || process->instance >= 0 || !process->ready)
            continue;
        struct fx_process_slot *shared = &mgr->shared->process[slot];
        process->instance = instance;
        process->ready = false;
        place(shared, instance);
        atomic_store(&shared->phase, FX_PHASE_STARTING);
        atomic_store(&shared->instance, instance);
        atomic_fetch_add(&shared->call, 1);
        fx_wake_all(&shared->call);
        return slot;
    }
    return -1;
}

uint32_t fx_spares_ready(void)
{
    uint32_t ready = 0;
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++)
        ready +=
            fx_process[slot].pid != 0 && fx_process[slot].instance < 0 && fx_process[slot].ready;
    return ready;
}

bool fx_process_starts(void)
{
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++)
        if (fx_process[slot].pid != 0 &&
            atomic_load(&mgr->shared->process[slot].phase) == FX_PHASE_STARTING)
            return true;
    return false;
}

void fx_processes_refill(void)
{
    uint32_t spares = 0;
    uint64_t now = fx_now_ns();
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++) {
        struct fx_process *process = &fx_process[slot];
        if (process->pid == 0 || process->instance >= 0)
            continue;
        spares++;
        if (!process->ready && now - process->started_ns > FX_LAUNCH_LIMIT_NS) {
            fx_log("a spare is not ready within 10 s of its start: killed");
            kill(process->pid, SIGKILL);
        }
    }
    struct fx_error error;
    if (spares < mgr->config.spares && now >= refill_after_ns && fx_process_start(-1, &error) < 0) {
        fx_log("no spare: %s", error.text);
        refill_after_ns = now + REFILL_PAUSE_NS;
    }
}

/* --- ending --------------------------------------------------------------------------------- */

int fx_process_reap(int slot)
{
    struct fx_process *process = &fx_process[slot];
    int status = 0;
    if (waitpid(process->pid, &status, 0) < 0)
        status = -1;
    if (process->pidfd >= 0) {
        fx_unwatch(process->pidfd);
        close(process->pidfd);
    }
    fx_files_remove_process(process->pid);
    give_back(&mgr->shared->process[slot]);
    atomic_store(&mgr->shared->process[slot].phase, FX_PHASE_EMPTY);
    if (status != 0)
        fx_locks_suspect();
    if (process->instance < 0)
        refill_after_ns = fx_now_ns() + REFILL_PAUSE_NS;
    *process = (struct fx_process){0};
    return status;
}

static bool any_left(void)
{
    bool left = false;
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++) {
        if (fx_process[slot].pid == 0)
            continue;
        if (waitpid(fx_process[slot].pid, NULL, WNOHANG) == 0) {
            left = true;
            continue;
        }
        fx_files_remove_process(fx_process[slot].pid);
        fx_process[slot].pid = 0;
    }
    return left;
}

static void ask_to_leave(int slot)
{
    struct fx_process *process = &fx_process[slot];
    struct fx_process_slot *shared = &mgr->shared->process[slot];
    if (process->instance < 0) {
        atomic_store(&shared->instance, FX_PROCESS_LEAVE);
        atomic_fetch_add(&shared->call, 1);
        fx_wake_all(&shared->call);
        return;
    }
    struct fx_instance *instance = &mgr->shared->instance[process->instance];
    rte_ring_enqueue(instance->messages, fx_message_pack(FX_MSG_STOP, false, instance->generation));
    fx_wake(&instance->sleeping);
}

void fx_processes_end(void)
{
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++)
        if (fx_process[slot].pid != 0)
            ask_to_leave(slot);
    for (int waited = 0; any_left() && waited < GOODBYE_MS; waited++)
        usleep(1000);
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++)
        if (fx_process[slot].pid != 0)
            kill(fx_process[slot].pid, SIGKILL);
    while (any_left())
        usleep(1000);
}
