/*
 * Lookup tables that every instance built from the same file shares. They lie in the manager's
 * memory and outlive their makers: a launch costs no rebuilding, a killed instance leaks none, and
 * 64 MB of routes are there once.
 */
#ifndef FX_NF_SHARED_TABLE_H
#define FX_NF_SHARED_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scalib/scalib.h"

#define NF_TABLE_NAME 32

/* Writes "KIND-HASH", the name of the table that this content makes. */
void nf_table_name(char name[NF_TABLE_NAME], const char *kind, const void *content, size_t size);

/* Keeps other instances from building tables of this file; -1 after flexnfv_fail(). */
int nf_table_lock(struct flexnfv_nf *nf, const char *path);
void nf_table_unlock(int lock);

/* Whether the table of that name was completed; one that was not is its finder's to free. */
bool nf_table_is_ready(const char *name);
int nf_table_set_ready(struct flexnfv_nf *nf, const char *name);

#endif
