#define _GNU_SOURCE
#include "cpus.h"

#include <string.h>

#include "check.h"

static cpu_set_t set_of(int count, int run, int gap)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < count; cpu++)
        if (cpu % (run + gap) < run)
            CPU_SET(cpu, &set);
    return set;
}

static void neighbours_are_one_range(void)
{
    char text[FX_CPUS_TEXT];
    cpu_set_t set = set_of(6, 6, 0);
    CPU_SET(8, &set);
    fx_cpus_text(&set, text);
    CHECK(strcmp(text, "0-5,8") == 0);
    set = set_of(CPU_SETSIZE, CPU_SETSIZE, 0);
    fx_cpus_text(&set, text);
    CHECK(strcmp(text, "0-1023") == 0);
    set = set_of(0, 1, 0);
    fx_cpus_text(&set, text);
    CHECK(strcmp(text, "") == 0);
}

/* Read back, every CPU is there: nothing was cut. */
static void the_longest_lists_are_whole(void)
{
    char text[FX_CPUS_TEXT];
    for (int run = 1; run <= 3; run++) {
        cpu_set_t set = set_of(CPU_SETSIZE, run, 1), read;
        CPU_ZERO(&read);
        fx_cpus_text(&set, text);
        for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
            int low, high, found = sscanf(word, "%d-%d", &low, &high);
            CHECK(found >= 1);
            for (int cpu = low; cpu <= (found == 2 ? high : low); cpu++)
                CPU_SET(cpu, &read);
        }
        CHECK(CPU_EQUAL(&set, &read));
    }
}

int main(void)
{
    neighbours_are_one_range();
    the_longest_lists_are_whole();
    return 0;
}
