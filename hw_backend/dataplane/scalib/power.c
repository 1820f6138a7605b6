#include "scalib/power.h"

#include <stdio.h>
#include <unistd.h>

#include <rte_power.h>

/* DPDK's power library calls a CPU number lcore id; ours differ from CPU numbers. */
static unsigned int managed_cpu;
static bool managed;
static uint32_t normal_frequency; /* an index into the driver's table */

bool fx_power_init(unsigned int cpu)
{
    char path[96];
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/cpufreq", cpu);
    if (access(path, F_OK) != 0) {
        fprintf(stderr, "power: cpu %u has no cpufreq driver, its frequency stays as it is\n", cpu);
        return false;
    }
    if (rte_power_init(cpu) != 0) {
        fprintf(stderr, "power: the frequency of cpu %u cannot be managed\n", cpu);
        return false;
    }
    managed_cpu = cpu;
    normal_frequency = rte_power_get_freq(cpu);
    managed = true;
    return true;
}

void fx_power_lowest(void)
{
    if (managed)
        rte_power_freq_min(managed_cpu);
}

void fx_power_restore(void)
{
    if (managed)
        rte_power_set_freq(managed_cpu, normal_frequency);
}

void fx_power_exit(void)
{
    if (managed)
        rte_power_exit(managed_cpu);
    managed = false;
}
