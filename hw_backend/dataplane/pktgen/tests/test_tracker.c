/* Loss, reordering and duplicates, by tables of numbers and against a plain recount. */
#include "check.h"
#include "tracker.h"

#include <string.h>

struct row {
    const char *what;
    uint32_t numbers[12];
    uint32_t count;
    uint64_t unique, missing, reordered, duplicates;
};

static void table(void)
{
    static const struct row rows[] = {
        {"nothing", {0}, 0, 0, 0, 0, 0},
        {"in order", {0, 1, 2, 3}, 4, 4, 0, 0, 0},
        {"first lost", {1, 2}, 2, 2, 1, 0, 0},
        {"two lost", {0, 3, 4}, 3, 3, 2, 0, 0},
        {"swapped", {0, 2, 1, 3}, 4, 4, 0, 1, 0},
        {"one far ahead", {3, 0, 1, 2, 4}, 5, 5, 0, 3, 0},
        {"twice", {0, 1, 1, 2}, 4, 3, 0, 0, 1},
        {"twice and late", {0, 2, 1, 1, 3}, 5, 4, 0, 1, 1},
        {"late, twice, and one lost", {1, 3, 1, 0, 0}, 5, 3, 1, 1, 2},
    };
    struct tracker tracker;
    CHECK(tracker_init(&tracker, 3) == 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tracker_clear(&tracker);
        for (uint32_t j = 0; j < rows[i].count; j++)
            tracker_see(&tracker, 2, rows[i].numbers[j]);
        if (tracker.unique != rows[i].unique || tracker.missing != rows[i].missing ||
            tracker.reordered != rows[i].reordered || tracker.duplicates != rows[i].duplicates) {
            fprintf(stderr, "%s: %lu unique, %lu missing, %lu reordered, %lu duplicates\n",
                    rows[i].what, tracker.unique, tracker.missing, tracker.reordered,
                    tracker.duplicates);
            exit(1);
        }
    }
    tracker_free(&tracker);
}

static void flows_do_not_mix(void)
{
    struct tracker tracker;
    CHECK(tracker_init(&tracker, 2) == 0);
    tracker_see(&tracker, 0, 0);
    tracker_see(&tracker, 1, 0);
    tracker_see(&tracker, 1, 1);
    tracker_see(&tracker, 0, 1);
    CHECK_EQ(tracker.unique, 4);
    CHECK_EQ(tracker.missing + tracker.reordered + tracker.duplicates, 0);
    tracker_free(&tracker);
}

/* Random loss, displacement and duplication of up to a window, counted with no window at all. */
static void agrees_with_a_plain_recount(void)
{
    enum { SENT = 200000 };
    struct tracker tracker;
    static uint32_t order[2 * SENT];
    static unsigned char seen[SENT];
    uint32_t count = 0, next = 0;
    uint64_t unique = 0, reordered = 0, duplicates = 0;
    srandom(5);
    for (uint32_t i = 0; i < SENT; i++) {
        int fate = (int)(random() % 100);
        if (fate < 5 && i + 1 < SENT)
            continue;
        order[count++] = i;
        if (fate > 90)
            order[count++] = i;
    }
    for (uint32_t i = 0; i + 100 < count; i++)
        if (random() % 10 == 0) {
            uint32_t other = i + (uint32_t)random() % 100, number = order[i];
            order[i] = order[other];
            order[other] = number;
        }
    CHECK(tracker_init(&tracker, 4096) == 0);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = order[i];
        tracker_see(&tracker, 17, number);
        if (number >= next)
            next = number + 1;
        else if (!seen[number])
            reordered++;
        duplicates += seen[number];
        unique += !seen[number];
        seen[number] = 1;
    }
    CHECK_EQ(tracker.unique, unique);
    CHECK_EQ(tracker.duplicates, duplicates);
    CHECK_EQ(tracker.reordered, reordered);
    CHECK_EQ(tracker.missing, next - unique);
    CHECK_EQ(tracker.too_late, 0);
    tracker_free(&tracker);
}

static void numbers_wrap(void)
{
    struct tracker tracker;
    CHECK(tracker_init(&tracker, 1) == 0);
    tracker.next[0] = UINT32_MAX - 1;
    tracker_see(&tracker, 0, UINT32_MAX - 1);
    tracker_see(&tracker, 0, 0);
    tracker_see(&tracker, 0, UINT32_MAX);
    tracker_see(&tracker, 0, 1);
    CHECK_EQ(tracker.unique, 4);
    CHECK_EQ(tracker.reordered, 1);
    CHECK_EQ(tracker.missing, 0);
    tracker_free(&tracker);
}

static void later_than_the_window_is_told_apart(void)
{
    struct tracker tracker;
    CHECK(tracker_init(&tracker, 1u << 18) == 0);
    CHECK_EQ(tracker.window, 256);
    tracker_see(&tracker, 5, 1000);
    tracker_see(&tracker, 5, 1000 - 255);
    CHECK_EQ(tracker.too_late, 0);
    tracker_see(&tracker, 5, 1000 - 256);
    CHECK_EQ(tracker.too_late, 1);
    CHECK_EQ(tracker.reordered, 2);
    CHECK_EQ(tracker.missing, 998);
    tracker_free(&tracker);
}

int main(void)
{
    table();
    flows_do_not_mix();
    agrees_with_a_plain_recount();
    numbers_wrap();
    later_than_the_window_is_told_apart();
    return 0;
}
