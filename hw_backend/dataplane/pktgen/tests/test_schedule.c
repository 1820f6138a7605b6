/* Packets due at given times, for every kind of schedule. */
#include "check.h"
#include "schedule.h"

#include <math.h>

#define MS 1000000ull

static struct trace_sample samples[] = {{1000, 64}, {0, 64}, {4000, 128}};
static const struct trace trace = {
    .count = 3, .step_s = 1, .peak_pps = 4000, .largest = 128, .samples = samples};

static struct captured packets[] = {
    {0, 0, 60}, {60, 100 * MS, 60}, {120, 100 * MS, 60}, {180, 600 * MS, 60}};
static const struct capture capture = {.count = 4, .packets = packets, .largest = 60};

static void constant_rate(void)
{
    struct schedule s;
    schedule_constant(&s, 1000, 10 * SECOND_NS, 0);
    CHECK_EQ(schedule_due(&s, 0), 0);
    CHECK_EQ(schedule_due(&s, MS), 1);
    CHECK_EQ(schedule_due(&s, SECOND_NS), 1000);
    CHECK_EQ(schedule_due(&s, 10 * SECOND_NS), 10000);
    CHECK_EQ(schedule_due(&s, 99 * SECOND_NS), 10000);
    schedule_constant(&s, 1000, 0, 500);
    CHECK_EQ(schedule_due(&s, 99 * SECOND_NS), 500);
}

static void a_new_rate_holds_from_its_moment(void)
{
    struct schedule s;
    schedule_constant(&s, 1000, 0, 0);
    schedule_set_rate(&s, 10, 2 * SECOND_NS, 1990);
    CHECK_EQ(schedule_due(&s, 2 * SECOND_NS), 2000);
    CHECK_EQ(schedule_due(&s, 3 * SECOND_NS), 2010);
    schedule_set_rate(&s, 0, 3 * SECOND_NS, 2010);
    CHECK_EQ(schedule_due(&s, 9 * SECOND_NS), 2010);
    schedule_unlimited(&s, 0, 0);
    CHECK(schedule_due(&s, 0) == SCHEDULE_ENDLESS && isinf(schedule_rate(&s, 0)));
    schedule_set_rate(&s, 100, SECOND_NS, 123456);
    CHECK_EQ(schedule_due(&s, 2 * SECOND_NS), 123556);
}

static void a_trace_holds_each_rate_for_one_step(void)
{
    struct schedule s;
    CHECK(schedule_trace(&s, &trace, 1, 1, 1, 0, 0) == 0);
    CHECK_EQ(s.end_ns, 3 * SECOND_NS);
    CHECK_EQ(schedule_due(&s, SECOND_NS / 2), 500);
    CHECK_EQ(schedule_due(&s, SECOND_NS), 1000);
    CHECK_EQ(schedule_due(&s, 2 * SECOND_NS), 1000);
    CHECK_EQ(schedule_due(&s, 2 * SECOND_NS + MS), 1004);
    CHECK_EQ(schedule_due(&s, 3 * SECOND_NS), 5000);
    CHECK_EQ(schedule_due(&s, 4 * SECOND_NS), 5000);
    CHECK_EQ(schedule_size(&s, SECOND_NS), 64);
    CHECK_EQ(schedule_size(&s, 2 * SECOND_NS + 1), 128);
    CHECK(schedule_rate(&s, 2500 * MS) == 4000);
    schedule_free(&s);
}

static void scales_and_passes_of_a_trace(void)
{
    struct schedule s;
    CHECK(schedule_trace(&s, &trace, 10, 0.5, 2, 0, 0) == 0);
    CHECK_EQ(s.end_ns, 600 * MS);
    CHECK_EQ(schedule_due(&s, 100 * MS), 50);
    CHECK_EQ(schedule_due(&s, 300 * MS), 250);
    CHECK_EQ(schedule_due(&s, 350 * MS), 275);
    CHECK_EQ(schedule_due(&s, 600 * MS), 500);
    CHECK(schedule_rate(&s, 50 * MS) == 500);
    schedule_free(&s);
    CHECK(schedule_trace(&s, &trace, 1, 1, 0, 0, 0) == 0);
    CHECK(s.end_ns == SCHEDULE_ENDLESS);
    CHECK_EQ(schedule_due(&s, 3000 * SECOND_NS), 5000 * 1000);
    schedule_free(&s);
    CHECK(schedule_trace(&s, &trace, 1, 1, 0, 1500 * MS, 0) == 0);
    CHECK_EQ(schedule_due(&s, 3000 * SECOND_NS), 1000);
    schedule_free(&s);
}

static void a_capture_keeps_its_times(void)
{
    struct schedule s;
    schedule_capture(&s, &capture, 1, 1, 0, 0);
    CHECK_EQ(schedule_due(&s, 0), 1);
    CHECK_EQ(schedule_due(&s, 99 * MS), 1);
    CHECK_EQ(schedule_due(&s, 100 * MS), 3);
    CHECK_EQ(schedule_due(&s, 600 * MS), 4);
    CHECK_EQ(schedule_due(&s, 900 * MS), 4);
    CHECK_EQ(s.end_ns, 800 * MS); /* one mean gap behind the last packet */
    schedule_capture(&s, &capture, 2, 3, 0, 0);
    CHECK_EQ(schedule_due(&s, 50 * MS), 3);
    CHECK_EQ(schedule_due(&s, 399 * MS), 4);
    CHECK_EQ(schedule_due(&s, 400 * MS), 5);
    CHECK_EQ(schedule_due(&s, 450 * MS), 7);
    CHECK_EQ(schedule_due(&s, 5 * SECOND_NS), 12);
    schedule_capture(&s, &capture, 1, 0, 0, 6);
    CHECK_EQ(schedule_due(&s, 5 * SECOND_NS), 6);
}

int main(void)
{
    constant_rate();
    a_new_rate_holds_from_its_moment();
    a_trace_holds_each_rate_for_one_step();
    scales_and_passes_of_a_trace();
    a_capture_keeps_its_times();
    return 0;
}
