#include "manager/maps.h"

#include "manager/worker.h"

enum { BUFFERS = 8 }; /* for a type's mapping: workers may still use the older ones */

static struct fx_manager *const mgr = &fx_manager;

static struct {
    struct fx_map map[BUFFERS];
    uint32_t newest;
    uint32_t unsafe; /* published since the last grace period */
} maps[FX_MAX_TYPES];

void fx_maps_init(void)
{
    for (uint32_t t = 0; t < mgr->config.types; t++) {
        mgr->type[t].mapping = mgr->config.type[t].mapping;
        fx_map_init(&maps[t].map[0], mgr->type[t].mapping);
        atomic_store(&mgr->map[t], &maps[t].map[0]);
    }
}

void fx_publish_map(uint32_t type)
{
    int8_t state[FX_MAX_INSTANCES];
    uint32_t slots = mgr->config.type[type].max_instances;
    for (uint32_t slot = 0; slot < slots; slot++) {
        const struct fx_instance_state *instance = &mgr->instance[fx_index_of(type, slot)];
        state[slot] = (int8_t)(instance->keep_mapped ? FX_RUNNING : instance->state);
    }
    if (maps[type].unsafe == BUFFERS - 1) {
        fx_grace();
        maps[type].unsafe = 0;
    }
    struct fx_map *before = &maps[type].map[maps[type].newest];
    maps[type].newest = (maps[type].newest + 1) % BUFFERS;
    struct fx_map *after = &maps[type].map[maps[type].newest];
    *after = *before;
    if (after->kind != mgr->type[type].mapping)
        fx_map_init(after, mgr->type[type].mapping);
    fx_map_update(after, state, slots);
    atomic_store_explicit(&mgr->map[type], after, memory_order_release);
    maps[type].unsafe++;
    if (mgr->type[type].remappings++ > 0) /* the first one moves nothing from anywhere */
        mgr->type[type].flows_moved += fx_map_moved(before, after);
}

int fx_check_mapping(uint32_t type, uint32_t mapping, struct fx_error *error)
{
    if (mapping > FX_EVEN)
        return fx_fail(error, "there is no mapping %u", mapping);
    if (!fx_mapping_allowed(&mgr->config.type[type], mapping))
        return fx_fail(error, "%s keeps state per flow: only rendezvous, or one instance",
                       mgr->config.type[type].name);
    return 0;
}

int fx_set_mapping(uint32_t type, uint32_t mapping, struct fx_error *error)
{
    if (fx_check_mapping(type, mapping, error) != 0)
        return -1;
    mgr->type[type].mapping = mapping;
    fx_publish_map(type);
    return 0;
}
