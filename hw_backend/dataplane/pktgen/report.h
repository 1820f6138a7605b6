/* The JSON lines on standard output. Rates are packets/s, latencies microseconds. */
#ifndef PKTGEN_REPORT_H
#define PKTGEN_REPORT_H

#include "run.h"

#include <stdbool.h>

void report_ready(const struct generator *generator);

/* Accepted and refused commands; `pps` is NAN where there is none. */
void report_command(const char *command, double pps);
void report_refused(const char *command, const char *reason);

/* What happened between two counts; `latency` is NULL when nothing is received. */
void report_period(double t_s, double length_s, const struct counts *now,
                   const struct counts *before, const struct histogram *latency, bool link_up);

void report_trial(unsigned int trial, double pps, bool passed, const struct run_result *result);
void report_summary(const struct generator *generator, const struct run_result *result);
void report_search(double highest_pps, double lowest_failed_pps, unsigned int trials,
                   const char *end);

/* Packets of a run that did not come back. */
uint64_t report_lost(const struct generator *generator, const struct counts *counts);

#endif
