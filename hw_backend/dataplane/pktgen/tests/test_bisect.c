/* The search ends near any true limit, in few trials. */
#include "bisect.h"
#include "check.h"

#include <math.h>

static struct bisect search(double limit, double min, double max, double resolution, int *trials)
{
    struct bisect bisect = bisect_start(min, max, resolution);
    double pps;
    for (*trials = 0; (pps = bisect_next(&bisect)) > 0; (*trials)++) {
        CHECK(pps >= min && pps <= max);
        CHECK(*trials < 64);
        bisect_report(&bisect, pps, pps <= limit);
    }
    return bisect;
}

int main(void)
{
    int trials;
    for (double limit = 1000; limit < 1e7; limit *= 1.037) {
        struct bisect found = search(limit, 1000, 1e7, 0.01, &trials);
        CHECK(found.passed_pps <= limit && limit < found.failed_pps);
        CHECK(found.failed_pps - found.passed_pps <= 0.01 * found.failed_pps);
        CHECK(trials <= 25);
    }
    struct bisect all = search(1e9, 1000, 1e7, 0.01, &trials);
    CHECK_EQ(trials, 1);
    CHECK(all.passed_pps == 1e7 && all.failed_pps == 0);
    struct bisect none = search(10, 1000, 1e7, 0.01, &trials);
    CHECK(none.passed_pps == 0 && none.failed_pps == 1000);
    struct bisect point = search(10, 5000, 5000, 0.01, &trials);
    CHECK(trials == 1 && point.passed_pps == 0);
    return 0;
}
