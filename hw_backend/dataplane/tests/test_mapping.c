#include <math.h>

#include "check.h"
#include "mapping.h"

static uint32_t next_random(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* Algorithm 1 as the paper writes it, for one packet; `row` is M[type] and `count` its j. */
static int map_nf_inst(uint32_t hash, const int *row, int count, const int8_t *state)
{
    if (count == 0)
        return FX_NO_INSTANCE;
    int index = (int)(hash % (uint32_t)count);
    for (int tried = 0; tried < count; tried++) {
        int id = row[(index + tried) % count];
        if (state[id] == FX_RUNNING)
            return id;
    }
    return FX_NO_INSTANCE;
}

static void algorithm1_is_the_papers(void)
{
    static struct fx_map map;
    fx_map_init(&map, FX_ALGORITHM1);
    CHECK_EQ(fx_map(&map, 12345), FX_NO_INSTANCE);
    for (int round = 0; round < 2000; round++) {
        int8_t state[FX_MAX_INSTANCES];
        int row[FX_MAX_INSTANCES], count = 0;
        uint32_t slots = 1 + next_random() % FX_MAX_INSTANCES;
        for (uint32_t slot = 0; slot < slots; slot++) {
            state[slot] = (int8_t)(next_random() % 5);
            if (state[slot] >= FX_RUNNING)
                row[count++] = (int)slot;
        }
        CHECK_EQ(fx_map_update(&map, state, slots), 0);
        for (int packet = 0; packet < 50; packet++) {
            uint32_t hash = packet ? next_random() : UINT32_MAX;
            CHECK_EQ(fx_map(&map, hash), map_nf_inst(hash, row, count, state));
        }
    }
}

static void count_buckets(const struct fx_map *map, uint32_t *held)
{
    for (int slot = 0; slot < FX_MAX_INSTANCES; slot++)
        held[slot] = 0;
    for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++) {
        CHECK(map->slot[bucket] >= 0 && map->slot[bucket] < FX_MAX_INSTANCES);
        held[map->slot[bucket]]++;
    }
}

/* On scale-out only flows of the newcomer move; on scale-in only those of the one that left. */
static void affinity_is_kept(enum fx_mapping_kind kind)
{
    struct fx_map map, before;
    int8_t state[FX_MAX_INSTANCES] = {FX_RUNNING};
    fx_map_init(&map, kind);
    CHECK_EQ(fx_map_update(&map, state, FX_MAX_INSTANCES), FX_BUCKETS);
    for (int slot = 1; slot < 20; slot++) {
        before = map;
        state[slot] = FX_RUNNING;
        uint32_t moved = fx_map_update(&map, state, FX_MAX_INSTANCES);
        CHECK(moved > 0);
        for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++)
            CHECK(map.slot[bucket] == before.slot[bucket] || map.slot[bucket] == slot);
        CHECK(fx_map_moved(&before, &map) == moved / (double)FX_BUCKETS);
    }
    before = map;
    state[7] = FX_DRAINING;
    fx_map_update(&map, state, FX_MAX_INSTANCES);
    for (uint32_t bucket = 0; bucket < FX_BUCKETS; bucket++)
        CHECK(before.slot[bucket] == 7 ? map.slot[bucket] != 7
                                       : map.slot[bucket] == before.slot[bucket]);
}

static void even_spread_is_even(void)
{
    struct fx_map map;
    int8_t state[FX_MAX_INSTANCES] = {0};
    uint32_t held[FX_MAX_INSTANCES];
    fx_map_init(&map, FX_EVEN);
    for (int round = 0; round < 500; round++) {
        state[next_random() % FX_MAX_INSTANCES] = (int8_t)(next_random() % 5);
        state[next_random() % FX_MAX_INSTANCES] = FX_RUNNING;
        fx_map_update(&map, state, FX_MAX_INSTANCES);
        count_buckets(&map, held);
        uint32_t least = FX_BUCKETS, most = 0;
        for (int slot = 0; slot < FX_MAX_INSTANCES; slot++) {
            CHECK(state[slot] == FX_RUNNING || held[slot] == 0);
            if (state[slot] != FX_RUNNING)
                continue;
            least = held[slot] < least ? held[slot] : least;
            most = held[slot] > most ? held[slot] : most;
        }
        CHECK(most - least <= 1);
    }
}

static void nothing_runs_and_nothing_is_mapped(void)
{
    int8_t blocked[3] = {FX_BLOCKED, FX_DRAINING, FX_LAUNCHING};
    for (enum fx_mapping_kind kind = FX_ALGORITHM1; kind <= FX_EVEN; kind++) {
        struct fx_map map;
        fx_map_init(&map, kind);
        fx_map_update(&map, (int8_t[]){FX_RUNNING, FX_RUNNING, FX_RUNNING}, 3);
        CHECK(fx_map(&map, 77) >= 0);
        fx_map_update(&map, blocked, 3);
        for (uint32_t hash = 0; hash < 2000; hash++)
            CHECK_EQ(fx_map(&map, hash), FX_NO_INSTANCE);
    }
}

static void blocked_load_goes_to_the_successor_or_to_all(void)
{
    int8_t state[4] = {FX_RUNNING, FX_BLOCKED, FX_RUNNING, FX_RUNNING};
    double load[4] = {0.1, 0.0, 0.2, 0.4}, prediction[4];
    fx_load_if_blocked(FX_ALGORITHM1, state, load, 4, prediction);
    CHECK(prediction[0] == 0.4); /* 2 gets 0.3, 3 keeps its 0.4 */
    CHECK(isinf(prediction[1]));
    CHECK(prediction[2] == 0.4 + 0.2);
    CHECK(prediction[3] == 0.1 + 0.4); /* wraps */
    fx_load_if_blocked(FX_EVEN, state, load, 4, prediction);
    CHECK(prediction[0] == 0.4 + 0.1 / 2);
    CHECK(prediction[3] == 0.2 + 0.4 / 2);
    state[2] = state[3] = FX_BLOCKED;
    fx_load_if_blocked(FX_EVEN, state, load, 4, prediction);
    CHECK(isinf(prediction[0])); /* the last one running */
}

int main(void)
{
    algorithm1_is_the_papers();
    affinity_is_kept(FX_RENDEZVOUS);
    affinity_is_kept(FX_EVEN);
    even_spread_is_even();
    nothing_runs_and_nothing_is_mapped();
    blocked_load_goes_to_the_successor_or_to_all();
    return 0;
}
