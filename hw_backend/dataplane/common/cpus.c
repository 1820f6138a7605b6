#define _GNU_SOURCE
#include "cpus.h"

#include <stdio.h>

void fx_cpus_text(const cpu_set_t *set, char text[FX_CPUS_TEXT])
{
    size_t used = 0;
    text[0] = '\0';
    for (int low = 0; low < CPU_SETSIZE; low++) {
        if (!CPU_ISSET(low, set))
            continue;
        int high = low;
        while (high + 1 < CPU_SETSIZE && CPU_ISSET(high + 1, set))
            high++;
        used += (size_t)snprintf(text + used, FX_CPUS_TEXT - used, used ? ",%d" : "%d", low);
        if (high > low)
            used += (size_t)snprintf(text + used, FX_CPUS_TEXT - used, "-%d", high);
        low = high;
    }
}
