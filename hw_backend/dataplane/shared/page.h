/* Reading the statistics page; also built as a shared library, since the order of loads matters. */
#ifndef FLEXNFV_PAGE_H
#define FLEXNFV_PAGE_H

#include "shared/abi.h"

/*
 * Copies a consistent snapshot. Returns 0; -1 if the page is not one of ours (magic), -2 if its
 * version or size differs, -3 if the writer did not leave it alone (it died in the middle).
 */
int fx_page_read(const struct fx_page *page, struct fx_page *copy);

/* Writer's side: between the two the page is inconsistent. */
void fx_page_begin(struct fx_page *page);
void fx_page_end(struct fx_page *page);

#endif
