/*
 * Which instance of an NF type a flow goes to; flexnfv/mapping.py defines the three mappings.
 *
 * A map is rebuilt when an instance's state changes, off the packets' path. fx_map() then costs two
 * multiplications and two loads, whichever mapping is in force: Algorithm 1's search for the next
 * unblocked instance is done once for each index, in fx_map_update().
 *
 * A map that packets are being looked up in must not change under them: update a copy and publish
 * that.
 */
#ifndef FX_MAPPING_H
#define FX_MAPPING_H

#include <stdint.h>

#include "shared/abi.h"

#define FX_BUCKETS     512 /* flow buckets of an NF type */
#define FX_NO_INSTANCE (-1)

enum fx_mapping_kind {
    FX_ALGORITHM1, /* paper, Algorithm 1: hash % existing instances, then the next unblocked */
    FX_RENDEZVOUS, /* highest random weight: a new instance takes flows, no other flow moves */
    FX_EVEN        /* an indirection table rebalanced with the fewest moves */
};

__extension__ typedef unsigned __int128 fx_wide;

struct fx_map {
    uint64_t reciprocal;      /* of the modulus, see fx_map() */
    uint32_t modulus;         /* entries of `slot` in use, at least 1 */
    uint32_t kind;            /* enum fx_mapping_kind */
    int16_t slot[FX_BUCKETS]; /* FX_NO_INSTANCE: drop and count */
};

/* A map in which no flow has an instance yet. */
void fx_map_init(struct fx_map *map, enum fx_mapping_kind kind);

/*
 * Bring the map up to date with the states of the type's slots (enum fx_state), slots <=
 * FX_MAX_INSTANCES. Returns the number of buckets that changed their instance; 0 under Algorithm 1,
 * which has none.
 */
uint32_t fx_map_update(struct fx_map *map, const int8_t *state, uint32_t slots);

/* Share of all flows that `after` sends elsewhere than `before`, their hashes taken as uniform. */
double fx_map_moved(const struct fx_map *before, const struct fx_map *after);

/* The slot of the flow with this hash, or FX_NO_INSTANCE. */
static inline int fx_map(const struct fx_map *map, uint32_t hash)
{
    /* hash % modulus without a division (Lemire, Kaser and Kurz, "Faster remainder by direct
     * computation", 2019): exact for every 32-bit hash and modulus. */
    uint64_t fraction = map->reciprocal * hash;
    return map->slot[(fx_wide)fraction * map->modulus >> 64];
}

/*
 * The highest load (erlangs) among the others if one instance were blocked, for each slot; infinity
 * where the instance is the only one running or does not run.
 */
void fx_load_if_blocked(enum fx_mapping_kind kind, const int8_t *state, const double *load,
                        uint32_t slots, double *prediction);

#endif
