/* The ethdevs that packets come from and leave by. */
#ifndef FLEXNFV_PORTS_H
#define FLEXNFV_PORTS_H

#include "manager/log.h"

/* Opens, configures and starts all; -1 with the reason. */
int fx_ports_init(struct fx_error *error);
void fx_ports_end(void);

#endif
