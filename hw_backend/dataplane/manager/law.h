/* The built-in law, which decides while no controller is heard. */
#ifndef FLEXNFV_MANAGER_LAW_H
#define FLEXNFV_MANAGER_LAW_H

#include <stdint.h>

/* Every monitor interval: the law decides if no controller does. */
void fx_law_interval(uint64_t now);

#endif
