#include <string.h>

#include "check.h"
#include "law.h"

/* One NF type with H = 0.3, L = 0.15 and a queue threshold of 100 packets. */
enum { S = FX_STOPPED, L = FX_LAUNCHING, R = FX_RUNNING, B = FX_BLOCKED };
enum { SLOTS = 4 };

static struct fx_law_memory memory;

static int64_t decide(const int8_t *state, const double *load, const double *queue,
                      const double *load_if_blocked, int unsettled, int64_t deaths)
{
    const double high = 0.3, low = 0.15, threshold = 100;
    const uint8_t is_unsettled = (uint8_t)unsettled;
    struct fx_law_thresholds thresholds = {&high, &low, &threshold};
    struct fx_law_reading reading = {state, load, queue, load_if_blocked, &is_unsettled, &deaths};
    int64_t targets;
    fx_law_decide(1, SLOTS, &thresholds, &reading, &memory, &targets);
    return targets;
}

static const double at_threshold[SLOTS] = {100, 100, 100, 100};
static const double carried[SLOTS] = {0.3, 0.3, 0.3, 0.3};

static void watermarks_follow_the_paper(void)
{
    static const struct {
        int8_t state[SLOTS];
        double load[SLOTS];
        int unsettled;
        int64_t targets;
    } rows[] = {
        {{R, S, S, S}, {0.2}, 0, 1},        /* normal */
        {{R, S, S, S}, {0.3}, 0, 1},        /* at H: normal */
        {{R, S, S, S}, {0.31}, 0, 2},       /* floor(1.03) more */
        {{R, S, S, S}, {0.7}, 0, 3},        /* floor(2.3) more */
        {{R, S, S, S}, {0.7}, 1, 1},        /* not judged yet */
        {{R, L, S, S}, {0.31}, 0, 2},       /* what launches counts */
        {{R, R, S, S}, {0.2, 0.7}, 0, 4},   /* the most loaded one decides */
        {{R, R, S, S}, {0.14, 0.15}, 0, 1}, /* below L */
        {{R, R, S, S}, {0.15, 0.15}, 0, 2}, /* at L: normal */
        {{R, R, L, S}, {0.14, 0.14}, 0, 3}, /* no block while one launches */
        {{R, S, S, S}, {0.01}, 0, 1},       /* the last one stays */
        {{R, R, S, S}, {0.14, 0.31}, 0, 3}, /* overload beats underload */
        {{R, B, S, S}, {0.2, 5.0}, 0, 1},   /* a blocked one's load is not looked at */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(&memory, 0, sizeof(memory));
        CHECK_EQ(decide(rows[i].state, rows[i].load, at_threshold, carried, rows[i].unsettled, 0),
                 rows[i].targets);
    }
}

static void the_rest_must_be_able_to_carry_it(void)
{
    const int8_t state[SLOTS] = {R, R, S, S};
    const double load[SLOTS] = {0.14, 0.14}, too_much[SLOTS] = {0.2, 0.31};
    memset(&memory, 0, sizeof(memory));
    CHECK_EQ(decide(state, load, at_threshold, too_much, 0, 0), 2);
    CHECK_EQ(decide(state, load, at_threshold, carried, 0, 0), 1);
}

static void a_long_queue_asks_for_one_more_at_the_fifth_check(void)
{
    const int8_t state[SLOTS] = {R, R, S, S};
    const double load[SLOTS] = {0.2, 0.2}, queue[SLOTS] = {101, 0};
    memset(&memory, 0, sizeof(memory));
    for (int lap = 0; lap < 2; lap++) { /* the action starts the count anew */
        for (int check = 1; check < FX_LAW_CHECKS; check++)
            CHECK_EQ(decide(state, load, queue, carried, 0, 0), 2);
        CHECK_EQ(decide(state, load, queue, carried, 0, 0), 3);
    }
    for (int check = 0; check < 20; check++) /* a flip does, too */
        CHECK_EQ(decide(state, load, check % 5 == 4 ? at_threshold : queue, carried, 0, 0), 2);
}

static void a_short_queue_of_the_victim_blocks_it_at_the_fifth_check(void)
{
    const int8_t state[SLOTS] = {R, R, S, S};
    const double load[SLOTS] = {0.2, 0.2}, queue[SLOTS] = {0, 99}, other[SLOTS] = {99, 100};
    memset(&memory, 0, sizeof(memory));
    for (int check = 1; check < FX_LAW_CHECKS; check++)
        CHECK_EQ(decide(state, load, queue, carried, 0, 0), 2);
    CHECK_EQ(decide(state, load, queue, carried, 0, 0), 1);
    for (int check = 0; check < 20; check++) /* the victim is the highest of the least loaded */
        CHECK_EQ(decide(state, load, other, carried, 0, 0), 2);
}

static void the_dead_are_replaced_at_once(void)
{
    const int8_t two[SLOTS] = {R, R, S, S}, one[SLOTS] = {R, S, S, S};
    const double load[SLOTS] = {0.2, 0.2};
    memset(&memory, 0, sizeof(memory));
    CHECK_EQ(decide(two, load, at_threshold, carried, 0, 0), 2);
    CHECK_EQ(decide(one, load, at_threshold, carried, 1, 1), 2);
}

int main(void)
{
    watermarks_follow_the_paper();
    the_rest_must_be_able_to_carry_it();
    a_long_queue_asks_for_one_more_at_the_fifth_check();
    a_short_queue_of_the_victim_blocks_it_at_the_fifth_check();
    the_dead_are_replaced_at_once();
    return 0;
}
