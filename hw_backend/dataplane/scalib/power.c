#include "scalib/power.h"

#include <stdio.h>
#include <string.h>

#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_power.h>

static unsigned int managed_id; /* as DPDK's power library names the core */
static bool managed;
static uint32_t normal_frequency; /* an index into the driver's table */

static void read_governor(unsigned int cpu, char *governor, int size)
{
    char path[96];
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(governor, size, file))
        governor[0] = '\0';
    if (file)
        fclose(file);
}

/* Newer releases of DPDK look up the CPU of an lcore, older ones take the lcore's number for the
 * CPU's. Whether DPDK has taken our CPU shows in its governor, which DPDK's drivers set. */
static bool take(unsigned int id, unsigned int cpu)
{
    char governor[32];
    if (rte_power_init(id) != 0)
        return false;
    read_governor(cpu, governor, sizeof(governor));
    if (strncmp(governor, "userspace", strlen("userspace")) == 0 ||
        strncmp(governor, "performance", strlen("performance")) == 0) {
        managed_id = id;
        return true;
    }
    rte_power_exit(id);
    return false;
}

bool fx_power_init(const uint16_t *cpu, uint32_t cpus)
{
    char governor[32];
    if (cpus != 1) {
        fprintf(stderr, "power: an instance of %u cores keeps their frequency as it is\n", cpus);
        return false;
    }
    read_governor(cpu[0], governor, sizeof(governor));
    if (!governor[0]) {
        fprintf(stderr, "power: cpu %u has no cpufreq driver, its frequency stays as it is\n",
                cpu[0]);
        return false;
    }
    rte_log_set_level(RTE_LOGTYPE_POWER, RTE_LOG_CRIT); /* this file says it in one line */
    managed = take(rte_lcore_id(), cpu[0]) || take(cpu[0], cpu[0]);
    if (!managed) {
        fprintf(stderr, "power: the frequency of cpu %u cannot be managed\n", cpu[0]);
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
