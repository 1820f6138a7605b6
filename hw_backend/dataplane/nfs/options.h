/* Reading an NF's arguments: "name=value name=value", separated by blanks. By rte_kvargs. */
#ifndef FX_NF_OPTIONS_H
#define FX_NF_OPTIONS_H

#include <stdint.h>

#include "scalib/scalib.h"

struct nf_option {
    const char *name;
    const char *value; /* in: the default, or NULL; out: what was given */
    char given[FX_ARGS_LENGTH];
};

/* Fills the values. Returns 0, or -1 after flexnfv_fail() for an unknown, repeated or bare name. */
int nf_options_read(struct flexnfv_nf *nf, const char *args, struct nf_option *options, int count);

/* `text` as a whole number in [low, high]; -1 after flexnfv_fail(), which names the option. */
int64_t nf_options_number(struct flexnfv_nf *nf, const struct nf_option *option, int64_t low,
                          int64_t high);

#endif
