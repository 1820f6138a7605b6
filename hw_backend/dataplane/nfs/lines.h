/* Reading the line-oriented files (rules, routes) that NFs take. */
#ifndef FX_NF_LINES_H
#define FX_NF_LINES_H

#include <stdint.h>

#include "scalib/scalib.h"

#define NF_WORDS_MAX 8

/* One line that holds anything, its comment (from a '#') cut off. */
struct nf_line {
    const char *path;
    int number; /* from 1 */
    int count;
    char *words[NF_WORDS_MAX];
};

/*
 * Hands every such line of the file to `take`, until one is refused. Returns 0, or -1 after
 * flexnfv_fail(), which `take` calls through nf_line_fail().
 */
int nf_lines_read(struct flexnfv_nf *nf, const char *path,
                  int (*take)(struct flexnfv_nf *nf, void *context, const struct nf_line *line),
                  void *context);

/* "FILE:LINE: reason" as the NF's reason to fail. Returns -1. */
int nf_line_fail(struct flexnfv_nf *nf, const struct nf_line *line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An IPv4 or IPv6 prefix, or a single address. */
struct nf_prefix {
    uint8_t address[16]; /* network order; bits behind the prefix are 0 */
    uint8_t version;     /* 4 or 6 */
    uint8_t length;      /* bits */
};

/* Returns 0, or -1 if `text` is no prefix or has bits set behind its length. */
int nf_prefix_read(const char *text, struct nf_prefix *prefix);

#endif
