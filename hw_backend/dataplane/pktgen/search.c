#include "search.h"

#include "bisect.h"
#include "report.h"

/* A trial whose rate was off by more than this share was not run at its rate. */
#define LATE 0.01

/* A trial passes when it was sent at its rate and came back, but for the tolerance. What the port
 * did not even take counts as lost: a memif's ring runs full when its peer is too slow, as a NIC's
 * queue does. */
static bool passes(const struct options *options, const struct run_result *result)
{
    const struct counts *counts = &result->counts;
    double lost =
        counts->wanted > counts->delivered ? (double)(counts->wanted - counts->delivered) : 0;
    return result->seconds * 1e9 <= (double)options->trial_ns * (1 + LATE) &&
           lost <= options->tolerance * (double)counts->wanted;
}

void search_run(struct generator *generator)
{
    const struct options *options = generator->options;
    struct bisect bisect = bisect_start(options->min_pps, options->max_pps, options->resolution);
    struct run_result result = {.end = RUN_DONE};
    unsigned int trials = 0;
    double pps;
    while (result.end == RUN_DONE && (pps = bisect_next(&bisect)) > 0) {
        struct schedule schedule;
        schedule_constant(&schedule, pps, options->trial_ns, 0);
        run_prepare(generator);
        run_schedule(generator, &schedule, false, &result);
        schedule_free(&schedule);
        if (result.end != RUN_DONE)
            break;
        bool passed = passes(options, &result);
        bisect_report(&bisect, pps, passed);
        report_trial(++trials, pps, passed, &result);
    }
    report_search(bisect.passed_pps, bisect.failed_pps, trials,
                  result.end == RUN_DONE ? "done" : "signal");
}
