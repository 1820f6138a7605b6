/*
 * What an NF author writes against. An NF is one C file in nfs/: fill a struct flexnfv_nf_ops and
 * name it in FLEXNFV_NF(); nothing else needs to know of it.
 *
 *     static int init(struct flexnfv_nf *nf, const char *args) { ... }
 *     static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count) { ... }
 *     static const struct flexnfv_nf_ops ops = {.name = "monitor", .init = init, ...};
 *     FLEXNFV_NF(ops)
 *
 * Packets belong to the manager: an NF may read and write a packet's bytes, and grow or shrink it
 * within its mbuf, but never frees, allocates or keeps one, and leaves mbuf->hash and mbuf->port
 * alone. Every packet of a burst goes on to the next NF of its chain unless flexnfv_drop() marked
 * it. A process may hold several NFs, even several of one function (run to completion): what
 * belongs to one is in nf->state.
 */
#ifndef FLEXNFV_SCALIB_H
#define FLEXNFV_SCALIB_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "shared/shared.h"

struct flexnfv_nf;

struct flexnfv_nf_ops {
    const char *name;    /* the function's name, as chain files use it */
    const char *summary; /* one line */
    const char *args;    /* what `args` may hold, one line; NULL: nothing */
    bool stateful;       /* a flow must stay with its instance, since state cannot move */
    /* Before the instance is mapped. Returns 0, or -1 after flexnfv_fail(). May be NULL. */
    int (*init)(struct flexnfv_nf *nf, const char *args);
    /* 1 <= count <= FX_BURST. */
    void (*process)(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count);
    /* After the last burst, if init succeeded. May be NULL. */
    void (*teardown)(struct flexnfv_nf *nf);
};

/* What the scaling calls are about: one instance, or the type whose instances are launched. */
struct flexnfv_nf_info {
    uint16_t type;     /* index of the NF type */
    uint16_t instance; /* index in the statistics page */
    uint16_t slot;     /* place in its type's row */
    uint32_t generation;
};

struct flexnfv_nf {
    struct flexnfv_nf_info info;
    const struct flexnfv_nf_ops *ops;
    char type_name[FX_NAME_LENGTH];
    void *state; /* the NF's own */
    struct fx_process_slot *process;
    struct fx_instance *shared;
};

/* Says why init fails; the manager shows it to the user. Returns -1. */
int flexnfv_fail(struct flexnfv_nf *nf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The manager frees the packet and counts it as this NF's verdict. */
static inline void flexnfv_drop(struct rte_mbuf *packet)
{
    packet->hash.fdir.hi |= FX_META_DROP;
}

/* --- Listing 1 of the paper ----------------------------------------------------------------- */

/* Takes at most one message from the instance's own ring and obeys it. */
void scalib_check_msg(struct flexnfv_nf *nf);

/*
 * Asks the manager for `num_nfs` (> 0) more instances of info's type and waits for the answer.
 * Returns 1 if every launch was carried out, else 0: limits and core budget hold for it as well.
 */
int scalib_launch_nfs(struct flexnfv_nf_info *info, uint16_t num_nfs);

/* This instance stops receiving and parks: lowest frequency, asleep until a message comes. */
void scalib_block_nf(struct flexnfv_nf_info *info);

/* This instance leaves the park: frequency restored, receiving again. */
void scalib_rerun_nf(struct flexnfv_nf_info *info);

/* --- registration --------------------------------------------------------------------------- */

void flexnfv_register(const struct flexnfv_nf_ops *ops);

#define FLEXNFV_NF(ops)                                                                            \
    __attribute__((constructor)) static void flexnfv_register_this(void)                           \
    {                                                                                              \
        flexnfv_register(&(ops));                                                                  \
    }

#endif
