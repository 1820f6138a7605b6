#include "scalib/power.h"

#include <stdio.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_power.h>

static unsigned int managed_id; /* as DPDK's power library names the core */
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
    rte_log_set_level(RTE_LOGTYPE_POWER, RTE_LOG_CRIT); /* one line of ours is enough */
    /* Newer releases look up the CPU of an lcore, older ones take the one's number for the other's.
     */
    managed_id = rte_lcore_id();
    if (rte_power_init(managed_id) != 0) {
        managed_id = cpu;
        managed = rte_power_init(managed_id) == 0;
    } else {
        managed = true;
    }
    if (!managed) {
        fprintf(stderr, "power: the frequency of cpu %u cannot be managed\n", cpu);
        return false;
    }
    normal_frequency = rte_power_get_freq(managed_id);
    return true;
}

void fx_power_lowest(void)
{
    if (managed)
        rte_power_freq_min(managed_id);
}

void fx_power_restore(void)
{
    if (managed)
        rte_power_set_freq(managed_id, normal_frequency);
}

void fx_power_exit(void)
{
    if (managed)
        rte_power_exit(managed_id);
    managed = false;
}
