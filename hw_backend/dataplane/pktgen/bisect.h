/*
 * The decisions of a binary search for the highest loss-free rate (RFC 2544 section 26.1, with a
 * loss tolerance): which rate to try next, and when to end. The trials themselves are search.c's.
 */
#ifndef PKTGEN_BISECT_H
#define PKTGEN_BISECT_H

#include <stdbool.h>

struct bisect {
    double passed_pps; /* highest rate that passed; 0 before any did */
    double failed_pps; /* lowest rate that failed; 0 before any did */
    double min_pps;
    double max_pps;
    double resolution; /* ends when the two are this close, relatively */
};

struct bisect bisect_start(double min_pps, double max_pps, double resolution);

/* The rate to try next (the highest first), or 0 when the search is over. */
double bisect_next(const struct bisect *bisect);
void bisect_report(struct bisect *bisect, double pps, bool passed);

#endif
