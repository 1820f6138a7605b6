/* The NF processes: started, given an instance, reaped. Each has a slot, here and in shared memory.
 */
#ifndef FLEXNFV_PROCESSES_H
#define FLEXNFV_PROCESSES_H

#include "manager/manager.h"

#define FX_LAUNCH_LIMIT_NS 10000000000ull /* for a process to get ready; then it is killed */

struct fx_process {
    int pid; /* 0: the slot is free */
    int pidfd;
    int instance; /* its index, -1: a spare */
    bool ready;   /* as a spare */
    uint64_t started_ns;
};

extern struct fx_process fx_process[FX_MAX_PROCESSES];

/* Asks the NF binary which functions it has; -1 with the reason. Marks stateful types. */
int fx_processes_check_functions(struct fx_error *error);

/* Opens what every NF process inherits; -1 with the reason. */
int fx_processes_init(struct fx_error *error);

/* Starts a process for an instance, or a spare (-1). Returns its slot, or -1 with the reason. */
int fx_process_start(int instance, struct fx_error *error);

/* Gives an instance to a spare that is ready. Returns its slot, or -1 if there is none. */
int fx_process_wake_spare(int instance);

/* The process has ended: removes what it left behind, frees its slot; its wait status. */
int fx_process_reap(int slot);

/* Spares wanted but not there are started, at most one a call; one that hangs is killed. */
void fx_processes_refill(void);

/* Ends all NF processes: by message first, by SIGKILL where that is not heard. */
void fx_processes_end(void);

uint32_t fx_spares_ready(void);
bool fx_process_starts(void); /* any of them, right now */

#endif
