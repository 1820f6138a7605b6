/* RX and TX threads: everything that touches a packet in the manager, and what they are asked to
 * do. */
#ifndef FLEXNFV_WORKER_H
#define FLEXNFV_WORKER_H

#include "manager/manager.h"

/* Body of a worker thread; the argument is its struct fx_worker. */
int fx_worker_main(void *worker);

/* --- called by the control thread ----------------------------------------------------------- */

/* Waits until every worker has begun a new pass: nobody uses what was published before. */
void fx_grace(void);

/* Has a worker take back what a process that ended held; it has done so when this returns. */
void fx_reclaim(uint32_t index, enum fx_reclaim how);

void fx_set_entry(enum fx_entry entry);

#endif
