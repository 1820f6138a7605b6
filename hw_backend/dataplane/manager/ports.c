#include "manager/ports.h"

#include <stdio.h>
#include <string.h>

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_ethdev.h>

#include "manager/manager.h"
#include "manager/options.h"
#include "manager/pools.h"

enum { DESCRIPTORS = 1024 };

static struct fx_manager *const mgr = &fx_manager;

/* Opens a device that EAL has found already, or makes it (net_memif0,..., a PCI address). */
static int attach(const char *devargs, char *name, uint16_t *id, struct fx_error *error)
{
    size_t length = strcspn(devargs, ",");
    if (length >= FX_NAME_LENGTH)
        return fx_fail(error, "port '%.60s': the name is too long", devargs);
    memcpy(name, devargs, length);
    name[length] = '\0';
    if (rte_eth_dev_get_port_by_name(name, id) == 0)
        return 0;
    if (rte_dev_probe(devargs) != 0 || rte_eth_dev_get_port_by_name(name, id) != 0)
        return fx_fail(error, "port '%.60s' cannot be opened%s", devargs,
                       strchr(name, ':') && !fx_options.pci ? ": give --pci for a NIC" : "");
    return 0;
}

/*
 * While the pool is empty, most drivers leave a packet where it is and count the attempt in
 * rx_nombuf. These drivers have taken the packet by then, so that rx_nombuf counts losses.
 */
static bool drops_unbuffered(const char *driver)
{
    return strcmp(driver, "net_pcap") == 0 || strcmp(driver, "net_tap") == 0;
}

static int start(uint16_t port, struct fx_error *error)
{
    uint16_t id = mgr->port[port].id, rx = DESCRIPTORS, tx = DESCRIPTORS;
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf = {0};
    if (rte_eth_dev_info_get(id, &info) != 0)
        return -1;
    mgr->port[port].rx_queues = (uint16_t)RTE_MIN(mgr->rx_workers, info.max_rx_queues);
    mgr->port[port].tx_queues = (uint16_t)RTE_MIN(mgr->tx_workers, info.max_tx_queues);
    /* The two ends of a memif agree on the number of their rings only when they meet. The first
     * ring is always there; what is sent to another that is not would wait for ever. */
    if (strcmp(info.driver_name, "net_memif") == 0)
        mgr->port[port].tx_queues = 1;
    if (mgr->port[port].rx_queues > 1) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf =
            (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP) & info.flow_type_rss_offloads;
    }
    if (rte_eth_dev_configure(id, mgr->port[port].rx_queues, mgr->port[port].tx_queues, &conf) ||
        rte_eth_dev_adjust_nb_rx_tx_desc(id, &rx, &tx))
        return fx_fail(error, "port %s cannot be configured", mgr->port[port].name);
    mgr->port[port].drops_unbuffered = drops_unbuffered(info.driver_name);
    int socket = rte_eth_dev_socket_id(id);
    struct rte_mempool *pool = fx_pool_of(socket, error);
    if (!pool)
        return -1;
    for (uint16_t queue = 0; queue < mgr->port[port].rx_queues; queue++)
        if (rte_eth_rx_queue_setup(id, queue, rx, (unsigned int)socket, NULL, pool) != 0)
            return fx_fail(error, "port %s: no receive queue", mgr->port[port].name);
    for (uint16_t queue = 0; queue < mgr->port[port].tx_queues; queue++) {
        rte_spinlock_init(&mgr->port[port].tx_lock[queue]);
        if (rte_eth_tx_queue_setup(id, queue, tx, (unsigned int)socket, NULL) != 0)
            return fx_fail(error, "port %s: no transmit queue", mgr->port[port].name);
    }
    if (rte_eth_dev_start(id) != 0)
        return fx_fail(error, "port %s cannot be started", mgr->port[port].name);
    rte_eth_promiscuous_enable(id); /* virtual ports may not know how: no harm */
    return 0;
}

int fx_ports_init(struct fx_error *error)
{
    for (uint16_t port = 0; port < mgr->config.ports; port++)
        if (attach(mgr->config.port[port].devargs, mgr->port[port].name, &mgr->port[port].id,
                   error) != 0 ||
            start(port, error) != 0)
            return -1;
    return 0;
}

void fx_ports_end(void)
{
    for (uint16_t port = 0; port < mgr->config.ports; port++)
        if (rte_eth_dev_is_valid_port(mgr->port[port].id)) {
            rte_eth_dev_stop(mgr->port[port].id);
            rte_eth_dev_close(mgr->port[port].id);
        }
}
