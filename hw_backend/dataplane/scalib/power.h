/* The frequency of an instance's core (paper, Sec. IV-A). Where the machine has no cpufreq driver
 * every call does nothing. */
#ifndef FLEXNFV_POWER_H
#define FLEXNFV_POWER_H

#include <stdbool.h>
#include <stdint.h>

/* Takes over the core's governor; false, with one line said, where that cannot be, or where there
 * are several cores: DPDK's power library knows one CPU of an lcore. */
bool fx_power_init(const uint16_t *cpu, uint32_t cpus);
void fx_power_lowest(void);
void fx_power_restore(void);
void fx_power_exit(void);

#endif
