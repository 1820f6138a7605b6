/* What the manager reserves in huge pages, and what NFs find there. */
#ifndef FLEXNFV_MEMORY_H
#define FLEXNFV_MEMORY_H

#include <stdint.h>

#include "manager/log.h"

/* Sets mgr->mbufs; megabytes of huge pages that the configuration needs. */
uint32_t fx_memory_plan(void);

/* Makes mgr->shared with the rings of every instance, and the flow table; -1 with the reason. */
int fx_memory_init(struct fx_error *error);

#endif
