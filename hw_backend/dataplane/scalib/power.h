/* The frequency of an instance's core (paper, Sec. IV-A). Where the machine has no cpufreq driver
 * every call does nothing. */
#ifndef FLEXNFV_POWER_H
#define FLEXNFV_POWER_H

#include <stdbool.h>

/* Takes over the core's governor; false, with one line said, where that cannot be. */
bool fx_power_init(unsigned int cpu);
void fx_power_lowest(void);
void fx_power_restore(void);
void fx_power_exit(void);

#endif
