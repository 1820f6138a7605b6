/* Commands over the control socket: fixed structs, validated, answered with a reason if refused. */
#ifndef FLEXNFV_COMMANDS_H
#define FLEXNFV_COMMANDS_H

#include <stdint.h>

#include "manager/log.h"

int fx_commands_init(struct fx_error *error);

/* Somebody wants to connect. */
void fx_commands_accept(uint32_t unused);

/* That client has sent something, or has gone. */
void fx_commands_serve(uint32_t client);
void fx_commands_end(void);

#endif
