/* What the manager tells people: lines in its log, and the reason why something failed. */
#ifndef FLEXNFV_LOG_H
#define FLEXNFV_LOG_H

#include "shared/abi.h"

/* Why something is refused or does not work, for people. */
struct fx_error {
    char text[FX_REASON_LENGTH];
};

/* One line to standard error. */
__attribute__((format(printf, 1, 2))) void fx_log(const char *format, ...);

/* Writes the reason; returns -1. */
__attribute__((format(printf, 2, 3))) int fx_fail(struct fx_error *error, const char *format, ...);

#endif
