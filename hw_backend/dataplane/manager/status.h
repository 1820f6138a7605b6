/* The Status thread's part: the statistics page, and the same figures over rte_telemetry. */
#ifndef FLEXNFV_STATUS_H
#define FLEXNFV_STATUS_H

#include <stdint.h>

#include "manager/log.h"

int fx_status_init(struct fx_error *error);
void fx_status_publish(uint64_t now);
void fx_status_end(void);

#endif
