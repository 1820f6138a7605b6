#ifndef FX_ALIVE_H
#define FX_ALIVE_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>

/* Whether there is such a process, also of another user. */
static inline bool fx_alive(int pid)
{
    return kill(pid, 0) == 0 || errno == EPERM;
}

#endif
