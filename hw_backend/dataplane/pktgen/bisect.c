#include "bisect.h"

struct bisect bisect_start(double min_pps, double max_pps, double resolution)
{
    return (struct bisect){.min_pps = min_pps, .max_pps = max_pps, .resolution = resolution};
}

double bisect_next(const struct bisect *bisect)
{
    double floor_pps = bisect->passed_pps > 0 ? bisect->passed_pps : bisect->min_pps;
    if (bisect->passed_pps >= bisect->max_pps)
        return 0;
    if (bisect->failed_pps == 0)
        return bisect->max_pps;
    if (bisect->failed_pps <= bisect->min_pps)
        return 0;
    if (bisect->failed_pps - floor_pps > bisect->resolution * bisect->failed_pps)
        return (floor_pps + bisect->failed_pps) / 2;
    /* Nothing passed above the floor: the floor itself is the last to be tried. */
    return bisect->passed_pps > 0 ? 0 : bisect->min_pps;
}

void bisect_report(struct bisect *bisect, double pps, bool passed)
{
    if (passed && pps > bisect->passed_pps)
        bisect->passed_pps = pps;
    if (!passed && (bisect->failed_pps == 0 || pps < bisect->failed_pps))
        bisect->failed_pps = pps;
}
