/* Reading the statistics page; also built as a shared library, since the order of loads matters. */
#ifndef FLEXNFV_PAGE_H
#define FLEXNFV_PAGE_H

#include "shared/abi.h"

/*
 * Copies a consistent snapshot: what the page has of types, chains, ports and instances, and
 * nothing beyond these. Returns 0; -1 if the page is not one of ours (magic), -2 if its version or
 * size differs, -3 if the writer did not leave it alone (it died in the middle).
 */
int fx_page_read(const struct fx_page *page, struct fx_page *copy);

/* Writes all that a draft has; `sequence` is the page's. */
void fx_page_write(struct fx_page *page, struct fx_page *draft);

/* Writer's side: between the two the page is inconsistent. */
void fx_page_begin(struct fx_page *page);
void fx_page_end(struct fx_page *page);

#endif
