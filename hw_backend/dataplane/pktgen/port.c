#include "port.h"

#include "trace.h"

#include <limits.h>
#include <rte_bus_pci.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EAL_ARGUMENTS_MAX    20
#define TEXT_MAX             256
#define MBUF_CACHE           256
#define MBUFS_PER_DESCRIPTOR 4
#define MBUFS_MIN            4096
#define NO_HUGE_SPARE_MB     64

static bool eal_started;

/* DPDK makes itself a directory even where it keeps everything in memory, and leaves it behind. */
static void eal_stop(void)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof(directory), "%s", rte_eal_get_runtime_dir());
    rte_eal_cleanup();
    rmdir(directory);
}

static void port_failed(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void port_failed(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("flexnfv-pktgen: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (eal_started)
        eal_stop();
    exit(EXIT_PORT_FAILED);
}

/* A PCI address, with or without its domain, as in 0000:03:00.0 or 03:00.0. */
static bool is_pci(const char *device)
{
    char name[TEXT_MAX];
    struct rte_pci_addr address;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
    return rte_pci_addr_parse(name, &address) == 0;
}

static uint32_t mbuf_count(const struct options *options)
{
    return RTE_MAX(options->descriptors * MBUFS_PER_DESCRIPTOR, (uint32_t)MBUFS_MIN);
}

static uint32_t data_room(uint32_t largest)
{
    return RTE_MAX(largest + RTE_PKTMBUF_HEADROOM, (uint32_t)RTE_MBUF_DEFAULT_BUF_SIZE);
}

/* "0@(0,2-3)": one thread that may run on any of these. */
static void lcores(const struct options *options, char text[TEXT_MAX])
{
    cpu_set_t allowed;
    size_t used = (size_t)snprintf(text, TEXT_MAX, "0@(");
    if (options->cpus)
        used += (size_t)snprintf(text + used, TEXT_MAX - used, "%s", options->cpus);
    else if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
        for (int cpu = 0, first = 1; cpu < CPU_SETSIZE && used < TEXT_MAX - 8; cpu++)
            if (CPU_ISSET(cpu, &allowed)) {
                used +=
                    (size_t)snprintf(text + used, TEXT_MAX - used, "%s%d", first ? "" : ",", cpu);
                first = 0;
            }
    if (used < TEXT_MAX - 1)
        snprintf(text + used, TEXT_MAX - used, ")");
}

static void eal_start(const struct options *options, uint32_t largest)
{
    char cores[TEXT_MAX], prefix[TEXT_MAX], memory[TEXT_MAX];
    char *arguments[EAL_ARGUMENTS_MAX];
    int count = 0;
    const char *devices[] = {options->port, options->rx_port};
    bool pci = false;
    lcores(options, cores);
    snprintf(prefix, sizeof(prefix), "%s", options->prefix ? options->prefix : "");
    if (!options->prefix)
        snprintf(prefix, sizeof(prefix), "flexnfv-pktgen-%d", (int)getpid());
    snprintf(memory, sizeof(memory), "%u",
             (unsigned int)((uint64_t)mbuf_count(options) * (data_room(largest) + 256) >> 20) +
                 NO_HUGE_SPARE_MB);
    /* With either option DPDK makes no file that could outlive this process, however it ends. */
    char *fixed[] = {"flexnfv-pktgen",
                     options->huge_pages ? "--in-memory" : "--no-shconf",
                     "--no-telemetry",
                     "--lcores",
                     cores,
                     "--file-prefix",
                     prefix,
                     "--log-level",
                     options->verbose ? "info" : "error"};
    for (size_t i = 0; i < RTE_DIM(fixed); i++)
        arguments[count++] = fixed[i];
    for (size_t i = 0; i < RTE_DIM(devices); i++)
        if (devices[i] && is_pci(devices[i])) {
            arguments[count++] = "-a";
            arguments[count++] = (char *)(uintptr_t)devices[i];
            pci = true;
        }
    if (!pci)
        arguments[count++] = "--no-pci";
    if (!options->huge_pages) {
        arguments[count++] = "--no-huge";
        arguments[count++] = "-m";
        arguments[count++] = memory;
    }
    arguments[count] = NULL;
    rte_openlog_stream(stderr);
    if (rte_eal_init(count, arguments) < 0)
        port_failed(
            "DPDK does not start: %s; free huge pages (sysctl vm.nr_hugepages=1024) or give "
            "--no-huge, see also --verbose",
            rte_strerror(rte_errno));
    eal_started = true;
    /* The driver would complain at every attempt to reach a peer that is not there yet. */
    if (!options->verbose)
        rte_log_set_level_pattern("pmd.net.memif*", RTE_LOG_CRIT);
}

static uint16_t find(const char *device)
{
    char name[TEXT_MAX];
    uint16_t port;
    int status = 0;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
    if (!is_pci(device))
        status = rte_dev_probe(device);
    if (status)
        port_failed("--port %s: %s; see --verbose", device, rte_strerror(-status));
    if (rte_eth_dev_get_port_by_name(name, &port))
        port_failed("--port %s: no Ethernet device of this name", device);
    return port;
}

static void set_mtu(const char *device, const struct rte_eth_dev_info *info,
                    struct rte_eth_conf *conf, uint32_t largest)
{
    uint32_t mtu = RTE_MAX(largest, (uint32_t)RTE_ETHER_HDR_LEN) - RTE_ETHER_HDR_LEN;
    if (mtu <= RTE_ETHER_MTU)
        return;
    if (info->max_mtu && mtu > info->max_mtu)
        port_failed("--port %s: frames of %u bytes, but it carries no more than %u", device,
                    largest, (unsigned int)info->max_mtu + RTE_ETHER_HDR_LEN);
    conf->rxmode.mtu = mtu;
}

/* A memif client cannot be started before its peer has made the socket; it is tried again later. */
static bool start(uint16_t port, const char *device, const char *driver)
{
    int status = rte_eth_dev_start(port);
    if (status && strcmp(driver, "net_memif") != 0)
        port_failed("--port %s: cannot be started: %s; see --verbose", device,
                    rte_strerror(-status));
    return status == 0;
}

static uint16_t set_up(const char *device, const struct options *options, struct rte_mempool *pool,
                       uint32_t largest, bool *started)
{
    uint16_t port = find(device), descriptors_rx, descriptors_tx;
    int socket = rte_eth_dev_socket_id(port), status;
    struct rte_eth_conf conf = {0};
    struct rte_eth_dev_info info;
    descriptors_rx = descriptors_tx = (uint16_t)options->descriptors;
    if ((status = rte_eth_dev_info_get(port, &info)))
        port_failed("--port %s: %s", device, rte_strerror(-status));
    set_mtu(device, &info, &conf, largest);
    uint16_t rx_queues = info.max_rx_queues > 0, tx_queues = info.max_tx_queues > 0;
    if ((status = rte_eth_dev_configure(port, rx_queues, tx_queues, &conf)) ||
        (status = rte_eth_dev_adjust_nb_rx_tx_desc(port, &descriptors_rx, &descriptors_tx)) ||
        (rx_queues && (status = rte_eth_rx_queue_setup(port, 0, descriptors_rx,
                                                       (unsigned int)socket, NULL, pool))) ||
        (tx_queues &&
         (status = rte_eth_tx_queue_setup(port, 0, descriptors_tx, (unsigned int)socket, NULL))))
        port_failed("--port %s: cannot be set up: %s; see --verbose", device,
                    rte_strerror(-status));
    *started = start(port, device, info.driver_name);
    /* Replayed frames bear any address; drivers that cannot be promiscuous see them all. */
    rte_eth_promiscuous_enable(port);
    return port;
}

void ports_open(struct ports *ports, const struct options *options, uint32_t largest)
{
    eal_start(options, largest);
    ports->pool = rte_pktmbuf_pool_create("packets", mbuf_count(options), MBUF_CACHE, 0,
                                          (uint16_t)data_room(largest), (int)rte_socket_id());
    if (!ports->pool)
        port_failed("no memory for %u packets of %u bytes: %s", mbuf_count(options), largest,
                    rte_strerror(rte_errno));
    ports->tx = ports->rx =
        set_up(options->port, options, ports->pool, largest, &ports->tx_started);
    if (options->rx_port)
        ports->rx = set_up(options->rx_port, options, ports->pool, largest, &ports->rx_started);
}

static bool link_up(uint16_t port, bool *started)
{
    struct rte_eth_link link;
    *started = *started || rte_eth_dev_start(port) == 0;
    return *started && rte_eth_link_get_nowait(port, &link) == 0 &&
           link.link_status == RTE_ETH_LINK_UP;
}

bool ports_link_up(struct ports *ports)
{
    bool tx = link_up(ports->tx, &ports->tx_started);
    bool rx = ports->rx == ports->tx || link_up(ports->rx, &ports->rx_started);
    return tx && rx;
}

void ports_close(struct ports *ports)
{
    rte_eth_dev_stop(ports->tx);
    rte_eth_dev_close(ports->tx);
    if (ports->rx != ports->tx) {
        rte_eth_dev_stop(ports->rx);
        rte_eth_dev_close(ports->rx);
    }
    rte_mempool_free(ports->pool);
    eal_stop();
}
