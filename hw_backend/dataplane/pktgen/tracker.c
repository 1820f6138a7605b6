#include "tracker.h"

#include <stdlib.h>
#include <string.h>

/* Few flows get long windows (a whole ring of one flow may come late), many flows short ones. */
#define WINDOW_BITS_OF_ALL (1u << 26)
#define WINDOW_MIN         256u
#define WINDOW_MAX         (1u << 16)

static uint64_t *flow_window(struct tracker *tracker, uint32_t flow)
{
    return tracker->seen + (size_t)flow * (tracker->window / 64);
}

/* Forgets `count` numbers from `first` on; returns after one turn of the window at most. */
static void forget(const struct tracker *tracker, uint64_t *window, uint32_t first, uint32_t count)
{
    if (count >= tracker->window) {
        memset(window, 0, tracker->window / 8);
        return;
    }
    for (uint32_t number = first; count > 0; number++, count--) {
        uint32_t bit = number & (tracker->window - 1);
        window[bit / 64] &= ~(1ull << bit % 64);
    }
}

int tracker_init(struct tracker *tracker, uint32_t flows)
{
    uint32_t window = WINDOW_MAX;
    while (window > WINDOW_MIN && window > WINDOW_BITS_OF_ALL / flows)
        window /= 2;
    *tracker = (struct tracker){.flows = flows, .window = window};
    tracker->next = calloc(flows, sizeof(*tracker->next));
    tracker->seen = calloc((size_t)flows * (window / 64), sizeof(*tracker->seen));
    if (tracker->next && tracker->seen)
        return 0;
    tracker_free(tracker);
    return -1;
}

void tracker_clear(struct tracker *tracker)
{
    memset(tracker->next, 0, tracker->flows * sizeof(*tracker->next));
    memset(tracker->seen, 0, (size_t)tracker->flows * (tracker->window / 8));
    tracker->unique = tracker->missing = tracker->reordered = 0;
    tracker->duplicates = tracker->too_late = 0;
}

void tracker_see(struct tracker *tracker, uint32_t flow, uint32_t number)
{
    uint64_t *window = flow_window(tracker, flow);
    uint32_t bit = number & (tracker->window - 1);
    int32_t ahead = (int32_t)(number - tracker->next[flow]);
    if (ahead >= 0) {
        forget(tracker, window, tracker->next[flow], (uint32_t)ahead);
        tracker->missing += (uint32_t)ahead;
        tracker->next[flow] = number + 1;
    } else if (-(int64_t)ahead > tracker->window) {
        tracker->reordered++;
        tracker->too_late++;
        tracker->unique++;
        tracker->missing -= tracker->missing > 0;
        return;
    } else if (window[bit / 64] >> bit % 64 & 1) {
        tracker->duplicates++;
        return;
    } else {
        tracker->reordered++;
        tracker->missing -= tracker->missing > 0;
    }
    tracker->unique++;
    window[bit / 64] |= 1ull << bit % 64;
}

void tracker_free(struct tracker *tracker)
{
    free(tracker->next);
    free(tracker->seen);
    *tracker = (struct tracker){0};
}
