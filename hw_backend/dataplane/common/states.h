/* States of an instance and the commands that change them; the values are flexnfv/states.py's. */
#ifndef FX_STATES_H
#define FX_STATES_H

enum fx_state { FX_STOPPED, FX_LAUNCHING, FX_RUNNING, FX_DRAINING, FX_BLOCKED };

enum fx_command { FX_NONE, FX_LAUNCH, FX_BLOCK, FX_RERUN, FX_STOP };

#endif
