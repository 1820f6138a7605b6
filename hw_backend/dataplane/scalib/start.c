/*
 * What CPUs are there? EAL asks by 5,000 calls of access(), nearly all of which fail: a third of
 * the start of an NF. These two stand in for its functions (see meson.build): they ask one folder
 * for a CPU's NUMA node, and only for CPUs that can exist.
 */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_common.h>

unsigned int __wrap_eal_cpu_socket_id(unsigned int cpu);
int __wrap_eal_cpu_detected(unsigned int cpu);
int __real_eal_cpu_detected(unsigned int cpu);

static int may_exist(unsigned int cpu)
{
    static long cpus;
    if (cpus == 0)
        cpus = sysconf(_SC_NPROCESSORS_CONF);
    return (long)cpu < cpus;
}

int __wrap_eal_cpu_detected(unsigned int cpu)
{
    return may_exist(cpu) && __real_eal_cpu_detected(cpu);
}

unsigned int __wrap_eal_cpu_socket_id(unsigned int cpu)
{
    char path[64];
    unsigned int node = 0;
    if (!may_exist(cpu))
        return 0;
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u", cpu);
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (sscanf(entry->d_name, "node%u", &node) == 1)
            break;
    closedir(dir);
    return node;
}
