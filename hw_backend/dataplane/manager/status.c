#include "manager/status.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ring.h>
#include <rte_telemetry.h>

#include "common/alive.h"
#include "manager/decisions.h"
#include "manager/instances.h"
#include "manager/options.h"
#include "manager/pools.h"
#include "manager/processes.h"
#include "shared/page.h"

#define SMOOTHING 0.5 /* weight of the newest status period in the measured processing time */

static struct fx_manager *const mgr = &fx_manager;
static struct fx_page *page;
static struct fx_page draft;
static char page_path[512];
static struct {
    uint64_t served, busy_tsc, at_ns;
} last[FX_MAX_INSTANCE_SLOTS];
static pthread_mutex_t telemetry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fx_page shown; /* what telemetry tells, read of the page; under the lock */

/* --- the draft -------------------------------------------------------------------------------- */

/*
 * Processing time per packet, smoothed over the status periods. Clients may ask for snapshots in
 * between. A snapshot that comes soon after another is not taken in here: how much the newest
 * measurement weighs would depend on how often somebody looks.
 */
static double processing_ns(uint32_t index, uint64_t time_ns, bool *declared)
{
    struct fx_instance *instance = &mgr->shared->instance[index];
    uint32_t type = fx_type_of(index);
    uint64_t served = atomic_load(&instance->served), busy = atomic_load(&instance->busy_tsc);
    bool due = mgr->instance[index].processing_ns <= 0 ||
               time_ns - last[index].at_ns >= mgr->config.status_ns / 2;
    if (served > last[index].served && due) {
        double now = (double)(busy - last[index].busy_tsc) / (double)(served - last[index].served) *
                     1e9 / (double)rte_get_tsc_hz();
        double *kept = &mgr->instance[index].processing_ns;
        *kept = *kept > 0 ? *kept + SMOOTHING * (now - *kept) : now;
        last[index].served = served;
        last[index].busy_tsc = busy;
        last[index].at_ns = time_ns;
    }
    *declared = mgr->type[type].pace_pps > 0 && mgr->config.type[type].cost_ns > 0;
    if (*declared)
        mgr->instance[index].processing_ns = mgr->config.type[type].cost_ns / mgr->config.scale;
    return mgr->instance[index].processing_ns;
}

static uint32_t take_peak(uint32_t index, uint32_t queue)
{
    uint32_t peak = queue;
    for (uint32_t w = 0; w < mgr->workers; w++) {
        uint32_t seen = atomic_exchange(&mgr->worker[w]->instance[index].queue_peak, 0);
        if (seen > peak)
            peak = seen;
    }
    return peak;
}

static void draft_instance(struct fx_page_instance *out, uint32_t index, uint64_t now)
{
    struct fx_instance *in = &mgr->shared->instance[index];
    const struct fx_instance_state *instance = &mgr->instance[index];
    const struct fx_type_config *type = &mgr->config.type[in->type];
    bool declared;
    double cost = processing_ns(index, now, &declared);
    uint32_t queue = rte_ring_count(in->receive);
    *out = (struct fx_page_instance){
        .type = (int16_t)in->type,
        .slot = (int16_t)in->slot,
        .state = instance->state,
        .start_kind = instance->start_kind,
        .declared = declared,
        .cores = (uint8_t)type->cores,
        .pid = instance->process >= 0 ? fx_process[instance->process].pid : 0,
        .core = instance->cpu,
        .generation = in->generation,
        .launches = instance->launches,
        .reruns = instance->reruns,
        .deaths = instance->deaths,
        .arrived = FX_SUM(instance[index].arrived),
        .ring_dropped = FX_SUM(instance[index].ring_dropped),
        .served = atomic_load(&in->served),
        .nf_dropped = FX_SUM(instance[index].nf_dropped),
        .lost = FX_SUM(instance[index].lost),
        .busy_ns = (uint64_t)((double)atomic_load(&in->busy_tsc) * 1e9 / (double)rte_get_tsc_hz()),
        .bad_messages = atomic_load(&in->bad_messages),
        .processing_ns = cost,
        .pace_pps = mgr->type[in->type].pace_pps,
        .queue = queue,
        .queue_peak = take_peak(index, queue),
        .ring_size = type->ring_size,
        .sleeping = atomic_load(&in->sleeping),
        .state_since_ns = instance->state_since_ns,
        .command_ns = instance->command_ns,
        .polling_ns = atomic_load(&in->polling_ns),
        .mapped_ns = instance->mapped_ns,
        .first_packet_ns = atomic_load(&in->first_packet_ns),
        .parked_at_ns = instance->parked_at_ns,
    };
}

static void draft_type(struct fx_page_type *out, uint32_t t)
{
    const struct fx_type_config *config = &mgr->config.type[t];
    const struct fx_type_state *state = &mgr->type[t];
    bool declared = state->pace_pps > 0 && config->cost_ns > 0;
    *out = (struct fx_page_type){
        .target = state->target,
        .min_instances = (uint16_t)config->min_instances,
        .max_instances = (uint16_t)config->max_instances,
        .first = mgr->first[t],
        .mapping = (uint8_t)state->mapping,
        .spares = state->spares,
        .hot = atomic_load(&mgr->type_hot[t]) > 0,
        .cores_per_instance = config->cores,
        .ring_size = config->ring_size,
        .high_load = config->high_load,
        .low_load = config->low_load,
        .pace_pps = state->pace_pps,
        .declared_ns = declared ? config->cost_ns / mgr->config.scale : 0,
        .unmapped = FX_SUM(unmapped[t]),
        .launches = state->launches,
        .spare_launches = state->spare_launches,
        .reruns = state->reruns,
        .blocks = state->blocks,
        .stops = state->stops,
        .deaths = state->deaths,
        .failed_launches = state->failed_launches,
        .clipped = state->clipped,
        .joined_ns = state->joined_ns,
        .flows_moved = state->flows_moved,
        .remappings = state->remappings,
    };
    memcpy(out->name, config->name, sizeof(out->name));
    memcpy(out->function, config->function, sizeof(out->function));
    memcpy(out->last_failure, state->last_failure, sizeof(out->last_failure));
}

static void draft_chains_and_ports(void)
{
    for (uint32_t c = 0; c < mgr->config.chains; c++) {
        const struct fx_chain_config *config = &mgr->config.chain[c];
        struct fx_page_chain *out = &draft.chain[c];
        memcpy(out->name, config->name, sizeof(out->name));
        out->length = (uint16_t)config->functions;
        for (uint32_t hop = 0; hop < config->functions; hop++)
            out->type[hop] = config->function[hop];
        out->delivered = FX_SUM(chain[c].delivered);
        out->shed = FX_SUM(chain[c].shed);
        out->offered = FX_SUM(chain[c].offered);
    }
    for (uint32_t p = 0; p < mgr->config.ports; p++) {
        struct fx_page_port *out = &draft.port[p];
        struct rte_eth_link link = {0};
        struct rte_eth_stats stats = {0};
        rte_eth_link_get_nowait(mgr->port[p].id, &link);
        rte_eth_stats_get(mgr->port[p].id, &stats);
        memcpy(out->name, mgr->port[p].name, sizeof(out->name));
        out->peer = mgr->config.port[p].peer;
        out->link_up = link.link_status;
        out->sent = FX_SUM(port[p].sent);
        out->dropped = FX_SUM(port[p].dropped);
        out->missed = stats.imissed + (mgr->port[p].drops_unbuffered ? stats.rx_nombuf : 0);
    }
}

/*
 * Workers count on while this adds up. Losses are read before deliveries and these before offers,
 * so that a packet which moves on meanwhile counts as in flight, and never twice.
 */
static void draft_totals(void)
{
    memset(draft.dropped, 0, sizeof(draft.dropped));
    draft.delivered = draft.offered = 0;
    for (uint32_t index = 0; index < mgr->instances; index++) {
        draft.dropped[FX_CAUSE_RING_FULL] += draft.instance[index].ring_dropped;
        draft.dropped[FX_CAUSE_NF] += draft.instance[index].nf_dropped;
        draft.dropped[FX_CAUSE_DEATH] += draft.instance[index].lost;
    }
    for (uint32_t t = 0; t < mgr->config.types; t++)
        draft.dropped[FX_CAUSE_NO_INSTANCE] += draft.type[t].unmapped;
    for (uint32_t c = 0; c < mgr->config.chains; c++)
        draft.dropped[FX_CAUSE_SHED] += draft.chain[c].shed;
    draft.dropped[FX_CAUSE_SHUTDOWN] = FX_SUM(shutdown_dropped);
    for (uint32_t p = 0; p < mgr->config.ports; p++) {
        draft.dropped[FX_CAUSE_PORT_FULL] += draft.port[p].dropped;
        draft.delivered += draft.port[p].sent;
    }
    for (uint32_t p = 0; p < mgr->config.ports; p++) {
        draft.port[p].received = FX_SUM(port[p].received);
        draft.offered += draft.port[p].received;
    }
    uint64_t gone = draft.delivered;
    for (int cause = 0; cause < FX_CAUSES; cause++)
        gone += draft.dropped[cause];
    draft.in_flight = draft.offered - gone;
    for (int class = 0; class < FX_CLASSES; class ++)
        draft.class_count[class] = FX_SUM(classes[class]);
    draft.flow_hits = FX_SUM(flow_hits);
    draft.flow_misses = FX_SUM(flow_misses);
}

static void draft_header(uint64_t now)
{
    draft.time_ns = now;
    draft.snapshots++;
    draft.control = (uint8_t)fx_control.control;
    draft.entry = (uint8_t)atomic_load(&mgr->entry_mode);
    draft.law_enabled = fx_control.law;
    draft.cores_held = fx_cores_held();
    draft.spares_ready = fx_spares_ready();
    draft.stopping = atomic_load(&mgr->closed);
    draft.heartbeats = fx_control.heartbeats;
    draft.last_heartbeat_ns = fx_control.last_heartbeat_ns;
    draft.decisions = fx_control.decisions;
    draft.law_decisions = fx_control.law_decisions;
    draft.takeovers = fx_control.takeovers;
    draft.refused_commands = fx_control.refused;
    fx_pools_count(&draft.mbufs, &draft.mbufs_free);
    draft.power = 0;
    for (int slot = 0; slot < FX_MAX_PROCESSES; slot++)
        draft.power |= fx_process[slot].pid != 0 && atomic_load(&mgr->shared->process[slot].power);
}

void fx_status_publish(uint64_t now)
{
    if (!page)
        return;
    for (uint32_t index = 0; index < mgr->instances; index++)
        draft_instance(&draft.instance[index], index, now);
    for (uint32_t t = 0; t < mgr->config.types; t++)
        draft_type(&draft.type[t], t);
    draft_chains_and_ports();
    draft_totals();
    draft_header(now);
    fx_page_write(page, &draft);
}

/* --- telemetry -------------------------------------------------------------------------------- */

static const char *const cause_names[FX_CAUSES] = {
    "dropped_ring_full", "dropped_no_instance", "dropped_by_nf",   "dropped_port_full",
    "dropped_death",     "dropped_shed",        "dropped_shutdown"};

/* Returns 0 with the lock held, -1 without it if there is nothing whole to tell. */
static int lock_and_read(void)
{
    pthread_mutex_lock(&telemetry_lock);
    if (fx_page_read(page, &shown) == 0)
        return 0;
    pthread_mutex_unlock(&telemetry_lock);
    return -1;
}

static int tell_totals(const char *command, const char *params, struct rte_tel_data *data)
{
    (void)command;
    (void)params;
    if (lock_and_read() != 0)
        return -1;
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_u64(data, "time_ns", shown.time_ns);
    rte_tel_data_add_dict_u64(data, "offered", shown.offered);
    rte_tel_data_add_dict_u64(data, "delivered", shown.delivered);
    rte_tel_data_add_dict_u64(data, "in_flight", shown.in_flight);
    for (int cause = 0; cause < FX_CAUSES; cause++)
        rte_tel_data_add_dict_u64(data, cause_names[cause], shown.dropped[cause]);
    rte_tel_data_add_dict_u64(data, "cores_held", shown.cores_held);
    rte_tel_data_add_dict_u64(data, "mbufs_free", shown.mbufs_free);
    pthread_mutex_unlock(&telemetry_lock);
    return 0;
}

static int tell_instance(const char *command, const char *params, struct rte_tel_data *data)
{
    (void)command;
    int index = params && *params ? atoi(params) : -1;
    if (index < 0 || index >= (int)mgr->instances)
        return -1;
    if (lock_and_read() != 0)
        return -1;
    const struct fx_page_instance *i = &shown.instance[index];
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_string(data, "type", shown.type[i->type].name);
    rte_tel_data_add_dict_int(data, "slot", i->slot);
    rte_tel_data_add_dict_int(data, "state", i->state);
    rte_tel_data_add_dict_int(data, "pid", i->pid);
    rte_tel_data_add_dict_u64(data, "arrived", i->arrived);
    rte_tel_data_add_dict_u64(data, "served", i->served);
    rte_tel_data_add_dict_u64(data, "ring_dropped", i->ring_dropped);
    rte_tel_data_add_dict_u64(data, "lost", i->lost);
    rte_tel_data_add_dict_u64(data, "queue", i->queue);
    rte_tel_data_add_dict_u64(data, "processing_ps", (uint64_t)(i->processing_ns * 1e3));
    pthread_mutex_unlock(&telemetry_lock);
    return 0;
}

static int tell_type(const char *command, const char *params, struct rte_tel_data *data)
{
    (void)command;
    int index = params && *params ? atoi(params) : -1;
    if (index < 0 || index >= (int)mgr->config.types)
        return -1;
    if (lock_and_read() != 0)
        return -1;
    const struct fx_page_type *type = &shown.type[index];
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_string(data, "name", type->name);
    rte_tel_data_add_dict_int(data, "target", type->target);
    rte_tel_data_add_dict_int(data, "mapping", type->mapping);
    rte_tel_data_add_dict_int(data, "spares", type->spares);
    rte_tel_data_add_dict_u64(data, "launches", type->launches);
    rte_tel_data_add_dict_u64(data, "reruns", type->reruns);
    rte_tel_data_add_dict_u64(data, "blocks", type->blocks);
    rte_tel_data_add_dict_u64(data, "stops", type->stops);
    rte_tel_data_add_dict_u64(data, "deaths", type->deaths);
    rte_tel_data_add_dict_u64(data, "clipped", type->clipped);
    pthread_mutex_unlock(&telemetry_lock);
    return 0;
}

static int tell_list(const char *command, const char *params, struct rte_tel_data *data)
{
    (void)command;
    (void)params;
    if (lock_and_read() != 0)
        return -1;
    rte_tel_data_start_array(data, RTE_TEL_INT_VAL);
    for (uint32_t index = 0; index < mgr->instances; index++)
        if (shown.instance[index].state != FX_STOPPED)
            rte_tel_data_add_array_int(data, (int)index);
    pthread_mutex_unlock(&telemetry_lock);
    return 0;
}

/* --- start and end ---------------------------------------------------------------------------- */

/* The page of a manager that was killed goes; that of one which is alive stays, and refuses us. */
static void remove_page_of_the_dead(void)
{
    struct fx_page old = {0};
    int fd = open(page_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    bool ours = read(fd, &old, sizeof(old)) >= (ssize_t)offsetof(struct fx_page, types) &&
                old.magic == FX_PAGE_MAGIC;
    close(fd);
    if (ours && !fx_alive(old.manager_pid))
        unlink(page_path);
}

int fx_status_init(struct fx_error *error)
{
    snprintf(page_path, sizeof(page_path), "%s/page", fx_options.dir);
    remove_page_of_the_dead();
    int fd = open(page_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*page)) != 0)
        return fx_fail(error, "%.120s: %s", page_path, strerror(errno));
    void *map = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return fx_fail(error, "%.120s: %s", page_path, strerror(errno));
    page = map;
    draft.magic = FX_PAGE_MAGIC;
    draft.abi_version = FX_ABI_VERSION;
    draft.size = sizeof(draft);
    draft.started_ns = mgr->started_ns;
    draft.status_period_ns = mgr->config.status_ns;
    draft.interval_ns = mgr->config.interval_ns;
    draft.manager_pid = getpid();
    draft.types = (uint16_t)mgr->config.types;
    draft.chains = (uint16_t)mgr->config.chains;
    draft.replicas = mgr->config.replicas;
    draft.ports = (uint16_t)mgr->config.ports;
    draft.workers = (uint16_t)mgr->workers;
    draft.core_budget = mgr->config.core_budget;
    draft.spares = mgr->config.spares;
    draft.scale = mgr->config.scale;
    rte_telemetry_register_cmd("/flexnfv/totals", tell_totals,
                               "Packets offered, delivered and lost by cause. No parameters");
    rte_telemetry_register_cmd("/flexnfv/instances", tell_list,
                               "Indices of the instances that are not stopped. No parameters");
    rte_telemetry_register_cmd("/flexnfv/instance", tell_instance,
                               "One instance. Parameter: its index");
    rte_telemetry_register_cmd(
        "/flexnfv/type", tell_type,
        "One NF type: what is wanted of it and what was done. Parameter: its "
        "index");
    return 0;
}

void fx_status_end(void)
{
    if (page)
        unlink(page_path);
}
