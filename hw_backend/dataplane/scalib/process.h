/* The NF process: how it attaches to the manager and serves an instance. */
#ifndef FLEXNFV_PROCESS_H
#define FLEXNFV_PROCESS_H

#include "scalib/scalib.h"

/* The NF function of that name, or NULL. */
const struct flexnfv_nf_ops *flexnfv_find(const char *name);

/* All functions, NULL behind the last. */
const struct flexnfv_nf_ops *const *flexnfv_functions(void);

/* Run to completion: the function that runs all functions of a packet's chain. */
const struct flexnfv_nf_ops *fx_replica(const struct fx_shared *shared);

/* Serves the instance until told to stop; 0, or 1 if init refused. */
int fx_serve(struct fx_shared *shared, struct fx_process_slot *process, int32_t index);

/* Tells the manager to look at this process: its phase, or what it wants, has changed. */
void fx_tell_manager(void);

#endif
