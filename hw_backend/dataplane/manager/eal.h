/* DPDK's start in the manager, its primary process. */
#ifndef FLEXNFV_EAL_H
#define FLEXNFV_EAL_H

#include "manager/log.h"

/* -1 with the reason, and what the operator can do about it. */
int fx_eal_init(struct fx_error *error);

#endif
