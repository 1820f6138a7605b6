/* The structs that Python shares with us, as C sees them. */
#ifndef FLEXNFV_ABI_H
#define FLEXNFV_ABI_H

#include <stdint.h>

#include "shared/flexnfv_abi.inc"

#endif
