/* A set of CPUs as DPDK's options take it. */
#ifndef FX_CPUS_H
#define FX_CPUS_H

#include <sched.h>

/* Room for the longest list there is: of three CPUs in a row two, of four digits each. */
#define FX_CPUS_TEXT (4 * CPU_SETSIZE)

/* Writes "0-5,8". */
void fx_cpus_text(const cpu_set_t *set, char text[FX_CPUS_TEXT]);

#endif
