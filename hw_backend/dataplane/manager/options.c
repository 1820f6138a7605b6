#define _GNU_SOURCE
#include "manager/options.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST_PREFIX = 60 };

struct fx_options fx_options = {.prefix = "flexnfv"};

static const char usage[] =
    "usage: flexnfv-manager --config FILE --dir DIR [--prefix NAME] [--cores LIST]\n"
    "                       [--nf-cores LIST] [--nf PATH] [--huge-dir DIR] [--pci] [--tethered]\n"
    "  --config FILE    types, chains, ports (see README.md)\n"
    "  --dir DIR        an existing folder for the page, the control socket and nf.log\n"
    "  --prefix NAME    DPDK file prefix, one per manager (default flexnfv)\n"
    "  --cores LIST     CPUs of the RX and TX threads, 0,2-3 (default: the first allowed)\n"
    "  --nf-cores LIST  CPUs of the NFs (default: the other allowed ones)\n"
    "  --nf PATH        the NF program (default: the one built with this)\n"
    "  --huge-dir DIR   a hugetlbfs mount\n"
    "  --pci            probe PCI devices, for NICs\n"
    "  --tethered       end when standard input does, with whoever started it\n";

static int parse_cpus(const char *option, const char *text, uint16_t *cpu, uint32_t most,
                      uint32_t *count, struct fx_error *error)
{
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof(allowed), &allowed);
    *count = 0;
    while (*text) {
        char *end;
        unsigned long low = strtoul(text, &end, 10), high = low;
        if (end == text || low >= CPU_SETSIZE)
            return fx_fail(error, "%s: '%.40s' is no list of CPUs", option, text);
        if (*end == '-') {
            text = end + 1;
            high = strtoul(text, &end, 10);
        }
        if (end == text || high < low || high >= CPU_SETSIZE || (*end && *end != ','))
            return fx_fail(error, "%s: '%.40s' is no list of CPUs", option, text);
        for (unsigned long i = low; i <= high; i++) {
            if (!CPU_ISSET(i, &allowed))
                return fx_fail(error, "%s: CPU %lu is not there or not allowed", option, i);
            if (*count == most)
                return fx_fail(error, "%s: at most %u CPUs", option, most);
            cpu[(*count)++] = (uint16_t)i;
        }
        text = *end ? end + 1 : end;
    }
    return *count ? 0 : fx_fail(error, "%s: no CPU", option);
}

/* Without --cores and --nf-cores: the first CPU is the manager's, the others are the NFs'. */
static void default_cpus(void)
{
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof(allowed), &allowed);
    if (fx_options.worker_cpus == 0)
        for (uint16_t cpu = 0; cpu < CPU_SETSIZE && fx_options.worker_cpus == 0; cpu++)
            if (CPU_ISSET(cpu, &allowed))
                fx_options.worker_cpu[fx_options.worker_cpus++] = cpu;
    for (uint16_t cpu = 0; fx_options.nf_cpus < FX_MAX_NF_CPUS && cpu < CPU_SETSIZE; cpu++) {
        bool taken = false;
        for (uint32_t i = 0; i < fx_options.worker_cpus; i++)
            taken = taken || fx_options.worker_cpu[i] == cpu;
        if (CPU_ISSET(cpu, &allowed) && !taken)
            fx_options.nf_cpu[fx_options.nf_cpus++] = cpu;
    }
    if (fx_options.nf_cpus == 0)
        fx_options.nf_cpu[fx_options.nf_cpus++] = fx_options.worker_cpu[0];
}

static const char *beside_this_program(void)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 32);
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    strcpy(name, "flexnfv-nf");
    if (access(path, X_OK) != 0)
        strcpy(name, "../scalib/flexnfv-nf"); /* as it lies in the build folder */
    return path;
}

/* Checks what was given, and fills in the CPUs that were not. */
static int complete(bool words_left, bool nf_cores_given, struct fx_error *error)
{
    if (words_left || !fx_options.config_path || !fx_options.dir)
        return fx_fail(error, "--config and --dir are needed (--help shows all options)");
    size_t length = strlen(fx_options.prefix);
    if (length == 0 || length > LONGEST_PREFIX || strchr(fx_options.prefix, '/'))
        return fx_fail(error, "--prefix: 1 to %d characters without a slash", LONGEST_PREFIX);
    if (!nf_cores_given)
        default_cpus();
    else if (fx_options.worker_cpus == 0)
        fx_options.worker_cpu[fx_options.worker_cpus++] = fx_options.nf_cpu[0];
    return 0;
}

int fx_options_parse(int argc, char **argv, struct fx_error *error)
{
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"dir", required_argument, NULL, 'd'},
                                          {"prefix", required_argument, NULL, 'p'},
                                          {"cores", required_argument, NULL, 'w'},
                                          {"nf-cores", required_argument, NULL, 'n'},
                                          {"nf", required_argument, NULL, 'f'},
                                          {"huge-dir", required_argument, NULL, 'h'},
                                          {"pci", no_argument, NULL, 'P'},
                                          {"tethered", no_argument, NULL, 't'},
                                          {"help", no_argument, NULL, '?'},
                                          {NULL, 0, NULL, 0}};
    int option;
    bool nf_cores_given = false;
    fx_options.nf_path = beside_this_program();
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            fx_options.config_path = optarg;
            break;
        case 'd':
            fx_options.dir = optarg;
            break;
        case 'p':
            fx_options.prefix = optarg;
            break;
        case 'f':
            fx_options.nf_path = optarg;
            break;
        case 'h':
            fx_options.huge_dir = optarg;
            break;
        case 'P':
            fx_options.pci = true;
            break;
        case 't':
            fx_options.tethered = true;
            break;
        case 'w':
            if (parse_cpus("--cores", optarg, fx_options.worker_cpu, FX_MAX_WORKERS,
                           &fx_options.worker_cpus, error) != 0)
                return -1;
            break;
        case 'n':
            nf_cores_given = true;
            if (parse_cpus("--nf-cores", optarg, fx_options.nf_cpu, FX_MAX_NF_CPUS,
                           &fx_options.nf_cpus, error) != 0)
                return -1;
            break;
        default:
            fputs(usage, stdout);
            exit(optopt ? 2 : 0);
        }
    }
    return complete(optind < argc, nf_cores_given, error);
}
