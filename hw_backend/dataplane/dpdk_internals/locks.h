/* DPDK's locks in shared memory, and what becomes of those that a killed NF held. */
#ifndef FLEXNFV_LOCKS_H
#define FLEXNFV_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "manager/log.h"

/* Finds the locks, which takes a memory zone that is there; -1 with the reason. */
int fx_locks_init(struct fx_error *error);

/* An NF process has died: from now on locks are looked at until none is held. */
void fx_locks_suspect(void);

/* Every status period: frees a lock that nobody alive can hold. starting: an NF starts right now.
 */
void fx_locks_tick(bool starting, uint64_t now);

/* All NFs have ended: frees every lock. */
void fx_locks_end(void);

#endif
