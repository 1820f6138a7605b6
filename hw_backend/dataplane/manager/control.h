/* What the control thread (Status and Scaling) is made of. All of it runs on that thread. */
#ifndef FLEXNFV_CONTROL_H
#define FLEXNFV_CONTROL_H

#include "manager/manager.h"

struct fx_options {
    const char *config_path;
    const char *dir;      /* page, socket and log live here */
    const char *prefix;   /* DPDK's --file-prefix */
    const char *nf_path;  /* flexnfv-nf */
    const char *huge_dir; /* NULL: DPDK's choice */
    uint32_t worker_cpus, nf_cpus;
    uint16_t worker_cpu[FX_MAX_WORKERS];
    uint16_t nf_cpu[128];
    bool pci;      /* probe PCI devices: a NIC is asked for */
    bool tethered; /* end with standard input */
};

extern struct fx_options fx_options;

/* --- processes.c: NF processes and their seats ------------------------------------------------ */

#define FX_LAUNCH_LIMIT_NS 10000000000ull /* for a process to get ready; then it is killed */

struct fx_process {
    int pid; /* 0: the seat is free */
    int pidfd;
    int entry; /* -1: a spare */
    bool failure_noted;
    bool ready; /* as a spare */
    uint64_t started_ns;
};

extern struct fx_process fx_process[FX_MAX_SEATS];

/* Asks the NF binary which functions it has; -1 with the reason. Marks stateful types. */
int fx_processes_check_functions(struct fx_error *error);

/* Opens what every NF process inherits; -1 with the reason. */
int fx_processes_init(int epoll_fd, struct fx_error *error);

/* Starts a process for an entry, or a spare (-1). Returns its seat, or -1 with the reason. */
int fx_process_start(int entry, struct fx_error *error);

/* Gives the entry to a spare that is ready. Returns its seat, or -1 if there is none. */
int fx_process_wake_spare(int entry);

/* The process has ended: reaps it, removes what it left behind, frees its seat. */
int fx_process_reap(int seat);

/* Spares wanted but not there are started, at most one a call; one that hangs is killed. */
void fx_processes_refill(void);

/* Ends all NF processes: by message first, by SIGKILL where that is not heard. */
void fx_processes_end(void);

uint32_t fx_spares_ready(void);
bool fx_process_starts(void); /* any of them, right now */

/* --- locks.c: DPDK's locks, and who has died with one ------------------------------------------
 */

/* Finds the locks; a memory zone must be there. -1 with the reason. */
int fx_locks_init(struct fx_error *error);

/* A process has died. */
void fx_locks_suspect(void);

/* Every status period: after a death, what nobody alive can hold any more is freed. starting: an NF
 * is starting right now. */
void fx_locks_tick(bool starting, uint64_t now);

/* No NF is left: frees all. */
void fx_locks_end(void);

/* --- scaling.c: the life of instances, targets, the law --------------------------------------- */

void fx_scaling_init(void);

/* Launches the initial instances and waits until they poll; -1 with the reason. */
int fx_scaling_start(struct fx_error *error);

/* An NF said that something has changed. */
void fx_scaling_event(void);
void fx_scaling_process_ended(int seat);

/* All NFs have ended: what they had in their hands is freed. */
void fx_scaling_empty_hands(void);

/* Every status period: what was to be tried again, and what takes too long. */
void fx_scaling_tick(uint64_t now);

/* Every monitor interval: the law decides if no controller does. */
void fx_scaling_interval(uint64_t now);

/* Whether the type has such a slot: 0, or -1 with the reason. */
int fx_check_slot(uint32_t type, int slot, struct fx_error *error);

/* The single commands: 0, or -1 with the reason. */
int fx_launch(uint32_t type, int slot, const char *args, int *taken, struct fx_error *error);
int fx_block(uint32_t entry, struct fx_error *error);
int fx_rerun(uint32_t entry, struct fx_error *error);
int fx_stop(uint32_t entry, struct fx_error *error);
int fx_kill(uint32_t entry, struct fx_error *error);
int fx_set_mapping(uint32_t type, uint32_t mapping, struct fx_error *error);
void fx_set_pace(uint32_t type, double pps);
void fx_set_entry(enum fx_entry entry);

/* Wanted instances per type, -1: as it is. clipped: what limits and budget refused. */
void fx_set_targets(const int32_t *targets, int32_t *clipped);

/* After a single command: what is there now is what is wanted. */
void fx_adopt_target(uint32_t type);

void fx_heartbeat(uint64_t now);
uint32_t fx_cores_held(void);

struct fx_control_state {
    enum fx_control control;
    bool law;
    uint64_t heartbeats, last_heartbeat_ns, decisions, law_decisions, takeovers, refused;
};

extern struct fx_control_state fx_control;

/* --- status.c: the statistics page and telemetry ---------------------------------------------- */

int fx_status_init(struct fx_error *error);
void fx_status_publish(uint64_t now);
void fx_status_end(void);

/* Sums over the workers. */
uint64_t fx_arrived(uint32_t entry);

/* --- commands.c: the control socket ----------------------------------------------------------- */

int fx_commands_init(int epoll_fd, struct fx_error *error);
void fx_commands_accept(void);
void fx_commands_serve(int client);
void fx_commands_end(void);

/* --- pools.c ---------------------------------------------------------------------------------- */

/* The pool of a port on that NUMA node (-1: it is on none); NULL with the reason. */
struct rte_mempool *fx_pool_of(int socket, struct fx_error *error);

/* Packets of all pools, and those of them that nobody holds. */
void fx_pools_count(uint32_t *all, uint32_t *free);

/* --- ports.c ---------------------------------------------------------------------------------- */

int fx_ports_init(struct fx_error *error);
void fx_ports_end(void);

/* --- main.c: events --------------------------------------------------------------------------- */

enum fx_event {
    FX_EVENT_NF,
    FX_EVENT_SIGNAL,
    FX_EVENT_STATUS,
    FX_EVENT_INTERVAL,
    FX_EVENT_SOCKET,
    FX_EVENT_CLIENT,
    FX_EVENT_PROCESS
};

/* Have the control thread's loop handle the descriptor. */
int fx_watch(int epoll_fd, int fd, enum fx_event event, uint32_t argument);

/* Whether there is such a process. */
bool fx_alive(int pid);

/* Leaves the loop. */
void fx_shut_down(void);

__attribute__((format(printf, 1, 2))) void fx_log(const char *format, ...);
__attribute__((format(printf, 2, 3))) int fx_fail(struct fx_error *error, const char *format, ...);

#endif
