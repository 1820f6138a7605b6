/* The mapping of each type's flows to its instances, as workers see it. */
#ifndef FLEXNFV_MAPS_H
#define FLEXNFV_MAPS_H

#include "manager/manager.h"

void fx_maps_init(void);

/* Brings the type's mapping up to date. Workers see the new one in their next pass: fx_grace(). */
void fx_publish_map(uint32_t type);

/* Changes how the type's flows are mapped; -1 with the reason. */
int fx_set_mapping(uint32_t type, uint32_t mapping, struct fx_error *error);

/* 0 if the type may have that mapping; -1 with the reason. */
int fx_check_mapping(uint32_t type, uint32_t mapping, struct fx_error *error);

#endif
