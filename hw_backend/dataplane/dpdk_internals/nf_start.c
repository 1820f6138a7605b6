/*
 * Functions that the linker puts into an NF in the place of EAL's own (../scalib/meson.build).
 *
 * EAL finds out which CPUs there are by 5,000 calls of access(), nearly all of which fail: a third
 * of the time that an NF takes to start. Ours look into one folder for a CPU's NUMA node, and only
 * for CPUs that can exist.
 *
 * At the end of every start EAL removes files of dead processes. To find them it tries to lock each
 * file, and an NF that starts at the same moment then fails to lock its own. EAL skips what it
 * cannot open, so ours lets it open nothing: it uses openat(), as nothing else in an NF does. The
 * manager removes what NFs leave.
 *
 * EAL sets up tables for service cores in the shared heap: 200 KB that nobody frees when the NF is
 * killed. NFs have no service cores, so ours sets up nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_common.h>

unsigned int __wrap_eal_cpu_socket_id(unsigned int cpu);
int __wrap_eal_cpu_detected(unsigned int cpu);
int __real_eal_cpu_detected(unsigned int cpu);
int __wrap_rte_service_init(void);
int __wrap_rte_service_start_with_defaults(void);
int __wrap_openat64(int folder, const char *name, int flags, ...);

int __wrap_rte_service_init(void)
{
    return 0;
}

int __wrap_rte_service_start_with_defaults(void)
{
    return 0;
}

int __wrap_openat64(int folder, const char *name, int flags, ...)
{
    (void)folder;
    (void)name;
    (void)flags;
    errno = EACCES;
    return -1;
}

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
