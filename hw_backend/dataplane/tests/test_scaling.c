#include <math.h>
#include <string.h>

#include "check.h"
#include "scaling.h"

enum {
    S = FX_STOPPED,
    L = FX_LAUNCHING,
    R = FX_RUNNING,
    D = FX_DRAINING,
    B = FX_BLOCKED,
    X = FX_STOPPING
};
enum { TYPES = 2, SLOTS = 4 };

struct row {
    const char *what;
    int8_t state[TYPES][SLOTS];
    int64_t targets[TYPES];
    int64_t budget;
    int8_t command[TYPES][SLOTS];
    int64_t clipped[TYPES];
};

static const struct row rows[] = {
    {"the targets are met", {{R, R, S, S}, {R, L, S, S}}, {2, 2}, 8, {{0}}, {0, 0}},
    {"as many are rerun as are asked for, lowest first, and none launched",
     {{R, B, D, S}, {R, S, S, S}},
     {2, 1},
     8,
     {{0, FX_RERUN, 0, 0}},
     {0, 0}},
    {"all blocked ones are rerun and the rest launched",
     {{R, B, D, S}, {R, S, S, S}},
     {4, 1},
     8,
     {{0, FX_RERUN, FX_RERUN, FX_LAUNCH}},
     {0, 0}},
    {"a launch under way counts", {{R, L, S, S}, {R, S, S, S}}, {2, 1}, 8, {{0}}, {0, 0}},
    {"a launch under way is not cancelled", {{R, L, S, S}, {R, S, S, S}}, {1, 1}, 8, {{0}}, {0, 0}},
    {"the least loaded is blocked", /* loads fall with the slot */
     {{R, R, R, S}, {R, S, S, S}},
     {2, 1},
     8,
     {{0, 0, FX_BLOCK, 0}},
     {0, 0}},
    {"the last one running stays", {{R, S, S, S}, {R, S, S, S}}, {0, 0}, 8, {{0}}, {0, 0}},
    {"a target above the limit is clipped", {{R, R, R, R}, {R, S, S, S}}, {6, 1}, 8, {{0}}, {2, 0}},
    {"a full budget clips launches in chain order",
     {{R, S, S, S}, {R, S, S, S}},
     {3, 2},
     4,
     {{0, FX_LAUNCH, FX_LAUNCH, 0}},
     {0, 1}},
    {"a full budget stops what another type has parked longest",
     {{R, B, B, S}, {R, S, S, S}},
     {1, 2},
     4,
     {{0, FX_STOP, 0, 0}, {0, FX_LAUNCH, 0, 0}},
     {0, 0}},
    {"what is stopping is not one of those wanted",
     {{R, R, X, S}, {R, S, S, S}},
     {1, 1},
     8,
     {{0, FX_BLOCK, 0, 0}},
     {0, 0}},
    {"what is stopping keeps its slot: no launch in it, and none beyond the last",
     {{R, X, R, R}, {R, S, S, S}},
     {4, 1},
     8,
     {{0}},
     {1, 0}},
    {"what is stopping keeps its core", {{R, X, S, S}, {R, S, S, S}}, {2, 1}, 3, {{0}}, {1, 0}},
    {"what is stopping asks for no other in its place",
     {{R, R, X, S}, {R, X, S, S}},
     {2, 1},
     8,
     {{0}},
     {0, 0}},
};

static void check(const struct row *row, int64_t kept)
{
    const double load[TYPES][SLOTS] = {{0.4, 0.3, 0.2, 0.1}, {0.4, 0.3, 0.2, 0.1}};
    const double parked_s[TYPES][SLOTS] = {{0, 9, 5, 0}, {0, 0, 0, 0}};
    const int64_t least[TYPES] = {1, 1}, most[TYPES] = {4, 4}, cores[TYPES] = {1, 1};
    const int64_t spares[TYPES] = {kept, -1};
    struct fx_limits limits = {TYPES, SLOTS, least, most, cores, row->budget, INFINITY};
    int8_t command[TYPES][SLOTS];
    int64_t clipped[TYPES];
    fx_plan(&limits, row->targets, spares, row->state[0], load[0], parked_s[0], command[0],
            clipped);
    if (memcmp(command, row->command, sizeof(command)) != 0 ||
        memcmp(clipped, row->clipped, sizeof(clipped)) != 0) {
        fprintf(stderr, "not so: %s\n", row->what);
        exit(1);
    }
}

static void commands_follow_the_table(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check(&rows[i], -1);
}

/* Of type 0; slot 1 is parked longer than slot 2. */
static const struct row one_is_kept[] = {
    {"of spares beyond those to keep, the longest parked are stopped",
     {{R, B, B, D}, {R, S, S, S}},
     {1, 1},
     8,
     {{0, FX_STOP, 0, 0}},
     {0, 0}},
};
static const struct row none_is_kept[] = {
    {"what is rerun is no spare, and what drains is not one yet",
     {{R, B, B, D}, {R, S, S, S}},
     {2, 1},
     8,
     {{0, FX_RERUN, FX_STOP, 0}},
     {0, 0}},
    {"the cores of spares that are stopped are there for launches",
     {{R, B, B, S}, {R, S, S, S}},
     {1, 3},
     4,
     {{0, FX_STOP, FX_STOP, 0}, {0, FX_LAUNCH, FX_LAUNCH, 0}},
     {0, 0}},
};

static void surplus_spares_are_stopped(void)
{
    check(&one_is_kept[0], 1);
    for (size_t i = 0; i < sizeof(none_is_kept) / sizeof(none_is_kept[0]); i++)
        check(&none_is_kept[i], 0);
}

static void what_is_parked_too_long_is_stopped(void)
{
    const int8_t state[3] = {R, B, B};
    const double load[3] = {0.1, 0, 0}, parked_s[3] = {0, 1.9, 2.0};
    const int64_t one = 1, three = 3, all = -1;
    struct fx_limits limits = {1, 3, &one, &three, &one, 8, 2.0};
    int8_t command[3];
    int64_t clipped;
    fx_plan(&limits, &one, &all, state, load, parked_s, command, &clipped);
    CHECK_EQ(command[1], FX_NONE);
    CHECK_EQ(command[2], FX_STOP);
}

int main(void)
{
    commands_follow_the_table();
    surplus_spares_are_stopped();
    what_is_parked_too_long_is_stopped();
    return 0;
}
