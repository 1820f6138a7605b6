/* Ends of NF processes, wanted or not, and those that hang. */
#ifndef FLEXNFV_RECOVERY_H
#define FLEXNFV_RECOVERY_H

#include "manager/manager.h"

/* The process in that slot has ended. */
void fx_recovery_process_ended(uint32_t slot);

/* Every status period: what was to be tried again, and what takes too long. */
void fx_recovery_tick(uint64_t now);

/* All NFs have ended: frees the bursts that they were processing. */
void fx_recovery_free_in_flight(void);

#endif
