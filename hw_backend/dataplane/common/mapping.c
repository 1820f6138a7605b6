#include "mapping.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static void set_modulus(struct fx_map *map, uint32_t modulus)
{
    map->modulus = modulus;
    map->reciprocal = UINT64_MAX / modulus + 1; /* wraps to 0 for 1, whose remainder is always 0 */
}

void fx_map_init(struct fx_map *map, enum fx_mapping_kind kind)
{
    map->kind = kind;
    for (int bucket = 0; bucket < FX_BUCKETS; bucket++)
        map->slot[bucket] = FX_NO_INSTANCE;
    set_modulus(map, kind == FX_ALGORITHM1 ? 1 : FX_BUCKETS);
}

/* Launching instances do not count in Algorithm 1's j. */
static bool exists(int8_t state)
{
    return state == FX_RUNNING || state == FX_DRAINING || state == FX_BLOCKED;
}

static void update_algorithm1(struct fx_map *map, const int8_t *state, uint32_t slots)
{
    int16_t existing[FX_MAX_INSTANCES];
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < slots; slot++)
        if (exists(state[slot]))
            existing[count++] = (int16_t)slot;
    /* The loop goes backwards over the row twice, so that the slots behind the last running one
     * find the first. */
    int16_t following = FX_NO_INSTANCE;
    for (uint32_t step = 2 * count; step-- > 0;) {
        int16_t slot = existing[step % count];
        if (state[slot] == FX_RUNNING)
            following = slot;
        map->slot[step % count] = following;
    }
    if (count == 0)
        map->slot[0] = FX_NO_INSTANCE;
    set_modulus(map, count ? count : 1);
}

/* Rendezvous weight of a slot for a bucket (murmur3's finaliser). */
static uint32_t score(uint32_t bucket, uint32_t slot)
{
    uint32_t x = bucket * 0x9E3779B1u + (slot + 1) * 0x85EBCA77u;
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    x ^= x >> 16;
    return x;
}

static uint32_t update_rendezvous(struct fx_map *map, const int8_t *state, uint32_t slots)
{
    uint32_t moved = 0;
    for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++) {
        int16_t best = FX_NO_INSTANCE;
        uint32_t best_score = 0;
        for (uint32_t slot = 0; slot < slots; slot++) {
            if (state[slot] != FX_RUNNING)
                continue;
            uint32_t weight = score(bucket, slot);
            if (best == FX_NO_INSTANCE || weight > best_score) {
                best = (int16_t)slot;
                best_score = weight;
            }
        }
        moved += map->slot[bucket] != best;
        map->slot[bucket] = best;
    }
    return moved;
}

static uint32_t empty(struct fx_map *map)
{
    uint32_t moved = 0;
    for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++) {
        moved += map->slot[bucket] != FX_NO_INSTANCE;
        map->slot[bucket] = FX_NO_INSTANCE;
    }
    return moved;
}

/* Buckets that each running slot shall hold. Where they do not divide evenly, the slots that hold
 * most now get one more, ties the lowest slot. */
static void even_quota(const uint32_t *held, const int8_t *state, uint32_t slots, uint32_t running,
                       uint32_t *quota)
{
    uint32_t base = FX_BUCKETS / running;
    for (uint32_t slot = 0; slot < slots; slot++)
        quota[slot] = state[slot] == FX_RUNNING ? base : 0;
    for (uint32_t odd = FX_BUCKETS % running; odd > 0; odd--) {
        int best = FX_NO_INSTANCE;
        for (uint32_t slot = 0; slot < slots; slot++)
            if (state[slot] == FX_RUNNING && quota[slot] == base &&
                (best < 0 || held[slot] > held[best]))
                best = (int)slot;
        quota[best]++;
    }
}

static uint32_t update_even(struct fx_map *map, const int8_t *state, uint32_t slots)
{
    uint32_t running = 0;
    for (uint32_t slot = 0; slot < slots; slot++)
        running += state[slot] == FX_RUNNING;
    if (running == 0)
        return empty(map);

    uint32_t held[FX_MAX_INSTANCES] = {0}, kept[FX_MAX_INSTANCES] = {0}, quota[FX_MAX_INSTANCES];
    for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++) {
        int owner = map->slot[bucket];
        if (owner >= 0 && (uint32_t)owner < slots && state[owner] == FX_RUNNING)
            held[owner]++;
    }
    even_quota(held, state, slots, running, quota);

    uint32_t moved = 0;
    for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++) {
        int owner = map->slot[bucket];
        if (owner >= 0 && (uint32_t)owner < slots && kept[owner] < quota[owner]) {
            kept[owner]++;
        } else {
            map->slot[bucket] = FX_NO_INSTANCE;
            moved++;
        }
    }
    uint32_t receiver = 0;
    for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++) {
        if (map->slot[bucket] != FX_NO_INSTANCE)
            continue;
        while (kept[receiver] >= quota[receiver])
            receiver++;
        map->slot[bucket] = (int16_t)receiver;
        kept[receiver]++;
    }
    return moved;
}

uint32_t fx_map_update(struct fx_map *map, const int8_t *state, uint32_t slots)
{
    switch ((enum fx_mapping_kind)map->kind) {
    case FX_RENDEZVOUS:
        return update_rendezvous(map, state, slots);
    case FX_EVEN:
        return update_even(map, state, slots);
    case FX_ALGORITHM1:
        update_algorithm1(map, state, slots);
    }
    return 0;
}

double fx_map_moved(const struct fx_map *before, const struct fx_map *after)
{
    /* A hash gives a pair of indices, one in each map. The pairs repeat after as many hashes as the
     * product of the moduli; where both are equal, after one modulus. */
    uint32_t hashes =
        before->modulus == after->modulus ? before->modulus : before->modulus * after->modulus;
    uint32_t moved = 0;
    for (uint32_t hash = 0; hash < hashes; hash++)
        moved += fx_map(before, hash) != fx_map(after, hash);
    return (double)moved / hashes;
}

/* The next running slot behind `victim`, wrapping. */
static int successor(const int8_t *state, uint32_t slots, uint32_t victim)
{
    for (uint32_t step = 1; step < slots; step++)
        if (state[(victim + step) % slots] == FX_RUNNING)
            return (int)((victim + step) % slots);
    return FX_NO_INSTANCE;
}

static double highest_without(enum fx_mapping_kind kind, const int8_t *state, const double *load,
                              uint32_t slots, uint32_t running, uint32_t victim)
{
    int heir = kind == FX_ALGORITHM1 ? successor(state, slots, victim) : FX_NO_INSTANCE;
    double highest = 0.0;
    for (uint32_t slot = 0; slot < slots; slot++) {
        if (state[slot] != FX_RUNNING || slot == victim)
            continue;
        double extra = kind != FX_ALGORITHM1 ? load[victim] / (running - 1)
                       : (int)slot == heir   ? load[victim]
                                             : 0.0;
        if (load[slot] + extra > highest)
            highest = load[slot] + extra;
    }
    return highest;
}

void fx_load_if_blocked(enum fx_mapping_kind kind, const int8_t *state, const double *load,
                        uint32_t slots, double *prediction)
{
    uint32_t running = 0;
    for (uint32_t slot = 0; slot < slots; slot++)
        running += state[slot] == FX_RUNNING;
    for (uint32_t slot = 0; slot < slots; slot++)
        prediction[slot] = state[slot] == FX_RUNNING && running > 1
                               ? highest_without(kind, state, load, slots, running, slot)
                               : INFINITY;
}
