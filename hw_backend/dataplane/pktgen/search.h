/* The search for the highest loss-free rate: bisect.h decides, trials are runs. */
#ifndef PKTGEN_SEARCH_H
#define PKTGEN_SEARCH_H

#include "run.h"

/* Searches between --min-pps and --max-pps and reports every trial and the result. */
void search_run(struct generator *generator);

#endif
