/*
 * Run to completion: a process that holds the functions of every NF type and takes a packet through
 * those of its chain, one after the other. To the rest of scalib it is one more NF.
 */
#include <stdlib.h>
#include <string.h>

#include "scalib/process.h"

struct replica {
    uint32_t started;                      /* stages, in the order of the NF types */
    struct flexnfv_nf stage[FX_MAX_TYPES]; /* by NF type */
};

static const struct fx_shared *shared;

static int start(struct flexnfv_nf *stage, uint16_t type, const char *args)
{
    const struct fx_shared_type *what = &shared->type[type];
    char reason[FX_REASON_LENGTH];
    stage->state = NULL;
    stage->info.type = type;
    stage->ops = flexnfv_find(what->function);
    memcpy(stage->type_name, what->name, sizeof(stage->type_name));
    if (!stage->ops)
        return flexnfv_fail(stage, "%s: there is no NF function '%s'", what->name, what->function);
    if (!stage->ops->init || stage->ops->init(stage, args) == 0)
        return 0;
    memcpy(reason, stage->process->reason, sizeof(reason));
    return flexnfv_fail(stage, "%s: %s", what->name, reason);
}

static void teardown(struct flexnfv_nf *nf)
{
    struct replica *replica = nf->state;
    while (replica->started > 0) {
        struct flexnfv_nf *stage = &replica->stage[--replica->started];
        if (stage->ops->teardown)
            stage->ops->teardown(stage);
    }
    free(replica);
}

/* An instance launched with other arguments has them for the function of its own type. */
static int init(struct flexnfv_nf *nf, const char *args)
{
    struct replica *replica = calloc(1, sizeof(*replica));
    if (!replica)
        return flexnfv_fail(nf, "out of memory");
    nf->state = replica;
    for (uint16_t type = 0; type < shared->types; type++) {
        replica->stage[type] = *nf;
        const char *own = type == nf->info.type ? args : shared->type[type].args;
        if (start(&replica->stage[type], type, own) != 0) {
            teardown(nf);
            return -1;
        }
        replica->started++;
    }
    return 0;
}

/* The packets of a chain that no function has dropped yet; `to` may be `from`. */
static uint16_t pick(struct rte_mbuf **from, uint16_t count, uint32_t chain, struct rte_mbuf **to)
{
    uint16_t picked = 0;
    for (uint16_t i = 0; i < count; i++) {
        uint32_t meta = from[i]->hash.fdir.hi;
        if (FX_META_CHAIN(meta) == chain && !(meta & FX_META_DROP))
            to[picked++] = from[i];
    }
    return picked;
}

/* `packets` stays as it is: what the functions dropped goes back to the manager with the rest. */
static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    struct replica *replica = nf->state;
    struct rte_mbuf *left[FX_BURST];
    for (uint32_t c = 0; c < shared->chains; c++) {
        const struct fx_shared_chain *chain = &shared->chain[c];
        uint16_t here = pick(packets, count, c, left);
        for (uint32_t hop = 0; hop < chain->length && here > 0; hop++) {
            struct flexnfv_nf *stage = &replica->stage[chain->type[hop]];
            stage->ops->process(stage, left, here);
            here = pick(left, here, c, left);
        }
    }
}

const struct flexnfv_nf_ops *fx_replica(const struct fx_shared *of)
{
    static const struct flexnfv_nf_ops ops = {
        .name = "replica",
        .summary = "runs every function of a packet's chain",
        .init = init,
        .process = process,
        .teardown = teardown,
    };
    shared = of;
    return &ops;
}
