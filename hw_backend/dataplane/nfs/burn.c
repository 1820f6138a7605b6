/*
 * burn: costs a stated processor time per packet, and leaves the packets alone. The cost is a chain
 * of dependent multiplications, calibrated when the NF starts, and not a wait for a point in time:
 * two instances on one core must cost twice as much.
 *
 * launches=N shows an NF that scales itself, by the paper's scalib_launch_nfs().
 */
#include <stdlib.h>

#include <rte_cycles.h>

#include "nfs/options.h"
#include "scalib/scalib.h"

#define TRIAL_ROUNDS 100000 /* about 0.1 ms */
#define TRIALS       8      /* the fastest is the one that nothing interrupted */
#define NS_MAX       1000000
#define LAUNCHES_MAX FX_MAX_INSTANCES

struct burn {
    uint64_t rounds;   /* per packet */
    uint16_t launches; /* to be asked for */
    uint64_t value;    /* carried on, so that no round can be left out */
};

static uint64_t spin(uint64_t value, uint64_t rounds)
{
    while (rounds-- > 0)
        value = value * 6364136223846793005u + 1442695040888963407u;
    return value;
}

static double rounds_per_ns(struct burn *burn)
{
    uint64_t fastest = UINT64_MAX;
    for (int trial = 0; trial < TRIALS; trial++) {
        uint64_t start = rte_rdtsc_precise();
        burn->value = spin(burn->value, TRIAL_ROUNDS);
        uint64_t cycles = rte_rdtsc_precise() - start;
        fastest = cycles < fastest ? cycles : fastest;
    }
    return TRIAL_ROUNDS / ((double)fastest * 1e9 / (double)rte_get_tsc_hz());
}

static int init(struct flexnfv_nf *nf, const char *args)
{
    struct nf_option options[] = {{.name = "ns", .value = "1000"},
                                  {.name = "launches", .value = "0"}};
    if (nf_options_read(nf, args, options, 2) != 0)
        return -1;
    int64_t ns = nf_options_number(nf, &options[0], 0, NS_MAX);
    int64_t launches = nf_options_number(nf, &options[1], 0, LAUNCHES_MAX);
    if (ns < 0 || launches < 0)
        return -1;
    struct burn *burn = calloc(1, sizeof(*burn));
    if (!burn)
        return flexnfv_fail(nf, "out of memory");
    burn->rounds = (uint64_t)((double)ns * rounds_per_ns(burn) + 0.5);
    burn->launches = nf->info.slot == 0 ? (uint16_t)launches : 0; /* not those it launches */
    nf->state = burn;
    return 0;
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    struct burn *burn = nf->state;
    (void)packets;
    scalib_launch_nfs(&nf->info, burn->launches);
    burn->launches = 0;
    burn->value = spin(burn->value, burn->rounds * count);
    __asm__ volatile("" : : "r"(burn->value)); /* nobody reads it, yet it must be computed */
}

static void teardown(struct flexnfv_nf *nf)
{
    free(nf->state);
}

static const struct flexnfv_nf_ops ops = {
    .name = "burn",
    .summary = "costs a stated processor time per packet",
    .args = "ns=N, nanoseconds of processor time per packet (0 to 1000000, default 1000); "
            "launches=N, instances of its type that slot 0 asks for at its first packet",
    .init = init,
    .process = process,
    .teardown = teardown,
};
FLEXNFV_NF(ops)
