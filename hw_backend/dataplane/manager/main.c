/* flexnfv-manager: the DPDK primary process. README.md describes options and configuration. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_memzone.h>
#include <rte_ring.h>

#include "common/cpus.h"
#include "manager/control.h"

enum {
    TRANSMIT_RING = 4096,
    PORT_MBUFS = 4096, /* what one port's queues may hold */
    SPARE_MBUFS = 8192,
    FULL_RINGS = 4,   /* of each type at once; an NF maps all of it, which takes its start's time */
    DRAIN_MS = 500,   /* for packets on their way when the manager ends */
    ATTACH_MS = 3000, /* for the NFs of a manager that was killed to go */
};

struct fx_manager fx_manager;
struct fx_options fx_options = {.prefix = "flexnfv"};

static struct fx_manager *const mgr = &fx_manager;
static bool running = true;
static int epoll_fd = -1;

/* --- small things ----------------------------------------------------------------------------- */

void fx_log(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("manager: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int fx_fail(struct fx_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return -1;
}

bool fx_alive(int pid)
{
    return kill(pid, 0) == 0 || errno == EPERM; /* of another user */
}

void fx_shut_down(void)
{
    running = false;
}

int fx_watch(int epoll, int fd, enum fx_event event, uint32_t argument)
{
    struct epoll_event watch = {.events = EPOLLIN,
                                .data.u64 = (uint64_t)argument << 32 | (uint64_t)event};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &watch);
}

/* --- options ---------------------------------------------------------------------------------- */

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
    for (uint16_t cpu = 0; fx_options.nf_cpus < 128 && cpu < CPU_SETSIZE; cpu++) {
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

static int parse_options(int argc, char **argv, struct fx_error *error)
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
            if (parse_cpus("--nf-cores", optarg, fx_options.nf_cpu, 128, &fx_options.nf_cpus,
                           error) != 0)
                return -1;
            break;
        default:
            fputs(usage, stdout);
            exit(optopt ? 2 : 0);
        }
    }
    if (optind < argc || !fx_options.config_path || !fx_options.dir)
        return fx_fail(error, "--config and --dir are needed (--help shows all options)");
    size_t length = strlen(fx_options.prefix);
    if (length == 0 || length > 60 || strchr(fx_options.prefix, '/'))
        return fx_fail(error, "--prefix: 1 to 60 characters without a slash");
    if (!nf_cores_given)
        default_cpus();
    else if (fx_options.worker_cpus == 0)
        fx_options.worker_cpu[fx_options.worker_cpus++] = fx_options.nf_cpu[0];
    return 0;
}

/* --- DPDK's environment ------------------------------------------------------------------------
 */

/* The workers that the configuration asks for: all folded onto one, or RX and TX threads apart. */
static void plan_workers(void)
{
    bool folded = mgr->config.tx_threads == 0;
    mgr->rx_workers = mgr->config.rx_threads;
    mgr->tx_workers = folded ? mgr->rx_workers : mgr->config.tx_threads;
    mgr->workers = folded ? mgr->rx_workers : mgr->rx_workers + mgr->tx_workers;
}

/* What packets may fill, and where they go next, looked up once instead of for every packet. */
static void plan_hops(void)
{
    mgr->hold_window = UINT32_MAX;
    for (uint32_t t = 0; t < mgr->config.types; t++)
        mgr->hold_window = RTE_MIN(mgr->hold_window, mgr->config.type[t].ring_size / 2);
    memset(mgr->next_type, -1, sizeof(mgr->next_type));
    for (uint32_t c = 0; c < mgr->config.chains; c++) {
        const struct fx_chain_config *chain = &mgr->config.chain[c];
        for (uint32_t hop = 1; hop < chain->length; hop++)
            mgr->next_type[c][chain->type[hop - 1]] = (int8_t)chain->type[hop];
    }
}

static void plan_memory(uint32_t *megabytes)
{
    uint64_t rings = 0, mbufs = SPARE_MBUFS + (uint64_t)PORT_MBUFS * mgr->config.ports;
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        const struct fx_type_config *type = &mgr->config.type[t];
        rings += (uint64_t)type->max_instances * (type->ring_size + TRANSMIT_RING) * sizeof(void *);
        mbufs += (uint64_t)RTE_MIN(type->max_instances, (uint32_t)FULL_RINGS) * type->ring_size;
    }
    if (mgr->config.mbufs)
        mbufs = mgr->config.mbufs;
    mgr->mbufs = (uint32_t)RTE_MIN(mbufs, (uint64_t)FX_MOST_MBUFS);
    uint64_t bytes = (uint64_t)mgr->mbufs * (sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM +
                                             mgr->config.mbuf_bytes + 192);
    *megabytes = (uint32_t)((bytes + rings + sizeof(struct fx_shared)) >> 20) + 48;
}

/* Where DPDK puts its files, by its own rules: it tells only once it has started. */
static const char *runtime_folder(void)
{
    const char *folder = getenv("RUNTIME_DIRECTORY"), *own = getenv("XDG_RUNTIME_DIR");
    if (folder)
        return folder;
    if (getuid() == 0)
        return "/var/run";
    return own ? own : "/tmp";
}

/* NFs of a manager that was killed hold its memory until they have noticed. */
static void wait_for_orphans(void)
{
    char folder[512], path[800];
    snprintf(folder, sizeof(folder), "%s/dpdk/%s", runtime_folder(), fx_options.prefix);
    for (int waited = 0; waited < ATTACH_MS; waited += 20) {
        bool alive = false;
        DIR *dir = opendir(folder);
        if (!dir)
            return;
        for (struct dirent *file; (file = readdir(dir));) {
            int pid = 0;
            if (sscanf(file->d_name, "mp_socket_%d_", &pid) == 1) {
                if (fx_alive(pid)) {
                    alive = true;
                } else {
                    snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
                    unlink(path);
                }
            }
        }
        closedir(dir);
        if (!alive)
            return;
        usleep(20000);
    }
}

static int eal_init(struct fx_error *error)
{
    char prefix[128], memory[32], all[FX_CPUS_TEXT], lcores[FX_CPUS_TEXT + 128], huge[512];
    uint32_t megabytes;
    int argc = 0;
    char *argv[16];
    cpu_set_t allowed;
    plan_memory(&megabytes);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    fx_cpus_text(&allowed, all);
    /* Lcore 0 is the control thread, wherever it finds time; then the workers. */
    size_t used = (size_t)snprintf(lcores, sizeof(lcores), "--lcores=0@(%s)", all);
    for (uint32_t i = 0; i < mgr->workers; i++)
        used += (size_t)snprintf(lcores + used, sizeof(lcores) - used, ",%u@%u", i + 1,
                                 fx_options.worker_cpu[i % fx_options.worker_cpus]);
    snprintf(prefix, sizeof(prefix), "--file-prefix=%s", fx_options.prefix);
    snprintf(memory, sizeof(memory), "-m%u", megabytes);
    argv[argc++] = "flexnfv-manager";
    argv[argc++] = "--proc-type=primary";
    argv[argc++] = prefix;
    argv[argc++] = lcores;
    argv[argc++] = "--main-lcore=0";
    argv[argc++] = memory;
    argv[argc++] = "--single-file-segments";
    argv[argc++] = "--log-level=error";
    if (!fx_options.pci)
        argv[argc++] = "--no-pci";
    if (fx_options.huge_dir) {
        if ((size_t)snprintf(huge, sizeof(huge), "--huge-dir=%s", fx_options.huge_dir) >=
            sizeof(huge))
            return fx_fail(error, "--huge-dir %.60s...: the path is too long", fx_options.huge_dir);
        argv[argc++] = huge;
    }
    wait_for_orphans();
    if (rte_eal_init(argc, argv) < 0)
        return fx_fail(error,
                       "DPDK does not start with %u MB of huge pages and prefix '%s' (%s): enough "
                       "huge pages free? sysctl vm.nr_hugepages=%u",
                       megabytes, fx_options.prefix, rte_strerror(rte_errno), megabytes);
    return 0;
}

/* --- shared memory -----------------------------------------------------------------------------
 */

static struct rte_ring *ring(const char *kind, uint32_t entry, uint32_t size, unsigned int flags)
{
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof(name), "fx_%s_%u", kind, entry);
    return rte_ring_create(name, size, SOCKET_ID_ANY, flags);
}

static int make_instance(uint32_t entry, uint32_t type, uint32_t slot, struct fx_error *error)
{
    struct fx_instance *instance = &mgr->shared->instance[entry];
    uint32_t first_tx = mgr->workers - mgr->tx_workers;
    instance->type = (uint16_t)type;
    instance->slot = (uint16_t)slot;
    instance->worker = (uint16_t)(first_tx + entry % mgr->tx_workers);
    /* Of the manager's workers several may feed an instance; the NF's side is always one. */
    instance->receive = ring("rx", entry, mgr->config.type[type].ring_size,
                             RING_F_SC_DEQ | (mgr->workers == 1 ? RING_F_SP_ENQ : 0));
    instance->transmit = ring("tx", entry, TRANSMIT_RING, RING_F_SP_ENQ | RING_F_SC_DEQ);
    instance->messages = ring("msg", entry, FX_MESSAGES, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (!instance->receive || !instance->transmit || !instance->messages)
        return fx_fail(error, "no memory for the rings of %s", mgr->config.type[type].name);
    return 0;
}

/* What NFs must know of the configuration. */
static void share_configuration(void)
{
    struct fx_shared *shared = mgr->shared;
    const struct fx_config *config = &mgr->config;
    shared->busy_polling = config->busy_polling;
    shared->replicas = config->replicas;
    shared->types = config->types;
    shared->chains = config->chains;
    for (uint32_t t = 0; t < config->types; t++) {
        memcpy(shared->type[t].name, config->type[t].name, FX_NAME_LENGTH);
        memcpy(shared->type[t].function, config->type[t].function, FX_NAME_LENGTH);
        memcpy(shared->type[t].args, config->type[t].args, FX_ARGS_LENGTH);
    }
    for (uint32_t c = 0; c < config->chains; c++) {
        shared->chain[c].length = config->chain[c].functions;
        memcpy(shared->chain[c].type, config->chain[c].function, FX_MAX_CHAIN_LENGTH);
    }
}

static int make_shared(struct fx_error *error)
{
    const struct rte_memzone *zone =
        rte_memzone_reserve_aligned(FX_MEMZONE, sizeof(*mgr->shared), SOCKET_ID_ANY, 0, 64);
    if (!zone)
        return fx_fail(error, "no memory for the shared structs");
    mgr->shared = zone->addr;
    memset(mgr->shared, 0, sizeof(*mgr->shared));
    mgr->shared->abi_version = FX_ABI_VERSION;
    mgr->shared->size = sizeof(*mgr->shared);
    mgr->shared->manager_pid = getpid();
    mgr->shared->tsc_hz = rte_get_tsc_hz();
    share_configuration();
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        mgr->first[t] = (uint16_t)mgr->entries;
        for (uint32_t slot = 0; slot < mgr->config.type[t].max_instances; slot++)
            if (make_instance(mgr->entries++, t, slot, error) != 0)
                return -1;
    }
    mgr->shared->magic = FX_MAGIC;
    if (mgr->config.rules.count > 0 || mgr->config.chains > 1) {
        mgr->flows = fx_flows_create();
        if (!mgr->flows)
            return fx_fail(error, "no memory for the flow table");
    }
    atomic_store(&mgr->rules, &mgr->config.rules);
    return 0;
}

/* --- workers -----------------------------------------------------------------------------------
 */

static int start_workers(struct fx_error *error)
{
    bool folded = mgr->config.tx_threads == 0;
    for (uint32_t i = 0; i < mgr->workers; i++) {
        struct fx_worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) / 64 * 64);
        if (!worker)
            return fx_fail(error, "no memory for a worker");
        memset(worker, 0, sizeof(*worker));
        worker->index = i;
        worker->lcore = i + 1;
        worker->receives = i < mgr->rx_workers;
        worker->transmits = folded || i >= mgr->rx_workers;
        worker->rx_queue = i;
        worker->tx_share = folded ? i : i - mgr->rx_workers;
        mgr->worker[i] = worker;
    }
    for (uint32_t i = 0; i < mgr->workers; i++)
        if (rte_eal_remote_launch(fx_worker_main, mgr->worker[i], i + 1) != 0)
            return fx_fail(error, "worker %u does not start", i);
    return 0;
}

/* --- the control thread's loop ------------------------------------------------------------------
 */

static int timer(uint64_t period_ns, enum fx_event event)
{
    struct timespec period = {(time_t)(period_ns / 1000000000), (long)(period_ns % 1000000000)};
    struct itimerspec every = {period, period};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) != 0)
        return -1;
    return fx_watch(epoll_fd, fd, event, (uint32_t)fd);
}

static int watch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -1 : fx_watch(epoll_fd, fd, FX_EVENT_SIGNAL, (uint32_t)fd);
}

static void consume(int fd)
{
    uint64_t buffer[16];
    ssize_t got = read(fd, buffer, sizeof(buffer));
    (void)got;
}

static void handle(uint64_t data)
{
    uint32_t argument = (uint32_t)(data >> 32);
    static uint64_t aged_ns;
    uint64_t now = fx_now_ns();
    switch ((enum fx_event)(data & 0xffffffff)) {
    case FX_EVENT_NF:
        consume(mgr->event_fd);
        fx_scaling_event();
        break;
    case FX_EVENT_SIGNAL:
        fx_shut_down();
        break;
    case FX_EVENT_STATUS:
        consume((int)argument);
        fx_scaling_tick(now);
        fx_status_publish(now);
        if (mgr->flows && now - aged_ns >= 1000000000) {
            fx_flows_age(mgr->flows);
            aged_ns = now;
        }
        break;
    case FX_EVENT_INTERVAL:
        consume((int)argument);
        fx_scaling_interval(now);
        break;
    case FX_EVENT_SOCKET:
        fx_commands_accept();
        break;
    case FX_EVENT_CLIENT:
        fx_commands_serve((int)argument);
        break;
    case FX_EVENT_PROCESS:
        fx_scaling_process_ended((int)argument);
        break;
    }
}

static void loop(void)
{
    struct epoll_event event[32];
    while (running) {
        int count = epoll_wait(epoll_fd, event, 32, -1);
        for (int i = 0; i < count && running; i++)
            handle(event[i].data.u64);
    }
}

/* Waits until the initial instances poll. */
static int await_first_instances(struct fx_error *error)
{
    struct epoll_event event[32];
    for (;;) {
        uint32_t waiting = 0;
        for (uint32_t t = 0; t < mgr->config.types; t++) {
            if (mgr->type[t].failed_launches > 0)
                return fx_fail(error, "%.31s cannot be launched: %.140s", mgr->config.type[t].name,
                               mgr->type[t].last_failure);
            for (uint32_t slot = 0; slot < mgr->config.type[t].max_instances; slot++)
                waiting += mgr->life[mgr->first[t] + slot].state == FX_LAUNCHING;
        }
        if (waiting == 0 || !running)
            return 0;
        int count = epoll_wait(epoll_fd, event, 32, 100);
        for (int i = 0; i < count && running; i++)
            handle(event[i].data.u64);
    }
}

static void be_ordinary(void)
{
    struct sched_param normal = {0};
    sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &normal);
}

/* It sleeps most of its time: a command waits neither for a polling worker nor for whoever sent it
 * and computes on, in real time, too. What it starts is ordinary. */
static void go_first(void)
{
    struct sched_param first = {.sched_priority = 2};
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &first) == 0)
        return;
    be_ordinary();
    if (setpriority(PRIO_PROCESS, 0, -20) != 0)
        fx_log("no higher priority for the control thread: commands may take longer");
    else
        fx_log("no real time for the control thread: commands may take longer");
}

static int start_control(struct fx_error *error)
{
    go_first();
    if (watch_signals() != 0 || timer(mgr->config.status_ns, FX_EVENT_STATUS) != 0 ||
        timer(mgr->config.interval_ns, FX_EVENT_INTERVAL) != 0 ||
        fx_watch(epoll_fd, mgr->event_fd, FX_EVENT_NF, 0) != 0 ||
        (fx_options.tethered && fx_watch(epoll_fd, STDIN_FILENO, FX_EVENT_SIGNAL, 0) != 0))
        return fx_fail(error, "no events: %s", strerror(errno));
    return 0;
}

/* --- the end ------------------------------------------------------------------------------------
 */

static uint64_t in_rings(void)
{
    uint64_t packets = 0;
    for (uint32_t entry = 0; entry < mgr->entries; entry++) {
        struct fx_instance *instance = &mgr->shared->instance[entry];
        packets += rte_ring_count(instance->receive) + rte_ring_count(instance->transmit) +
                   atomic_load(&instance->held);
    }
    return packets;
}

/* Workers have ended: what is left belongs to nobody else. */
static void free_rest(void)
{
    struct rte_mbuf *packet = NULL;
    for (uint32_t entry = 0; entry < mgr->entries; entry++) {
        struct fx_instance *instance = &mgr->shared->instance[entry];
        struct rte_ring *rings[] = {instance->receive, instance->transmit};
        for (int r = 0; r < 2; r++)
            while (rte_ring_dequeue(rings[r], (void **)&packet) == 0) {
                rte_pktmbuf_free(packet);
                fx_count(&mgr->worker[0]->shutdown_dropped, 1);
            }
    }
}

static void stop_all(void)
{
    atomic_store(&mgr->closed, true);
    for (int waited = 0; mgr->shared && in_rings() > 0 && waited < DRAIN_MS; waited++)
        usleep(1000);
    fx_processes_end();
    fx_scaling_empty_hands();
    usleep(2000);  /* the last bursts */
    be_ordinary(); /* waits for the workers without sleeping */
    atomic_store(&mgr->quit, true);
    for (uint32_t i = 0; i < mgr->workers; i++)
        if (mgr->shared)
            fx_wake(&mgr->shared->worker[i].sleeping);
    rte_eal_mp_wait_lcore();
    if (mgr->worker[0])
        free_rest();
}

/* DPDK leaves the files of its huge pages and its runtime folder behind. */
static void remove_files(const char *folder, const char *prefix)
{
    char path[1024];
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *file; (file = readdir(dir));)
        if (file->d_type != DT_DIR && strncmp(file->d_name, prefix, strlen(prefix)) == 0) {
            snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
            unlink(path);
        }
    closedir(dir);
}

static void remove_huge_pages(void)
{
    char line[1024], mount[512], kind[64], name[128];
    FILE *mounts = fopen("/proc/mounts", "r");
    snprintf(name, sizeof(name), "%smap_", fx_options.prefix);
    while (mounts && fgets(line, sizeof(line), mounts))
        if (sscanf(line, "%*s %511s %63s", mount, kind) == 2 && strcmp(kind, "hugetlbfs") == 0)
            remove_files(mount, name);
    if (mounts)
        fclose(mounts);
}

static void end(bool eal)
{
    char runtime[512] = "";
    if (eal) {
        snprintf(runtime, sizeof(runtime), "%s", rte_eal_get_runtime_dir());
        stop_all();
        fx_status_publish(fx_now_ns()); /* who has the page mapped sees how it ended */
        if (mgr->shared)
            fx_ports_end();
        fx_status_end();
        /* Not rte_eal_cleanup(): it unmaps what the interrupt thread of a driver may still use, and
         * waits for ever if a process died with one of DPDK's locks. */
        remove_huge_pages();
        remove_files(runtime, "");
        rmdir(runtime);
    }
    fx_commands_end();
}

/* --- start --------------------------------------------------------------------------------------
 */

static int start(int argc, char **argv, bool *eal, struct fx_error *error)
{
    if (parse_options(argc, argv, error) != 0 ||
        fx_config_read(fx_options.config_path, &mgr->config, error) != 0)
        return -1;
    plan_workers();
    plan_hops();
    if (access(fx_options.dir, W_OK | X_OK) != 0)
        return fx_fail(error, "--dir %.100s: %s", fx_options.dir, strerror(errno));
    if (fx_processes_check_functions(error) != 0)
        return -1;
    mgr->started_ns = fx_now_ns();
    mgr->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (eal_init(error) != 0)
        return -1;
    *eal = true;
    if (make_shared(error) != 0 || fx_locks_init(error) != 0 || fx_ports_init(error) != 0)
        return -1;
    fx_scaling_init();
    atomic_store(&mgr->closed, true);
    if (start_workers(error) != 0 || fx_processes_init(epoll_fd, error) != 0 ||
        start_control(error) != 0 || fx_status_init(error) != 0 || fx_scaling_start(error) != 0 ||
        await_first_instances(error) != 0)
        return -1;
    atomic_store(&mgr->closed, false);
    fx_status_publish(fx_now_ns());
    /* Last: who can connect finds a chain that runs. */
    return fx_commands_init(epoll_fd, error);
}

int main(int argc, char **argv)
{
    struct fx_error error = {0};
    bool eal = false;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* read from a descriptor, in the loop */
    prctl(PR_SET_TIMERSLACK, 1000);         /* ns; inherited by the workers */
    int result = start(argc, argv, &eal, &error);
    if (result == 0 && running) {
        fx_log("running: %u types, %u chains, %u ports", mgr->config.types, mgr->config.chains,
               mgr->config.ports);
        loop();
    }
    if (result != 0)
        fprintf(stderr, "flexnfv-manager: %s\n", error.text);
    end(eal);
    fflush(NULL);
    _exit(result == 0 ? 0 : 2);
}
