/* What is done to instances: launched, blocked, rerun, stopped, paced; and what their NFs report.
 */
#ifndef FLEXNFV_INSTANCES_H
#define FLEXNFV_INSTANCES_H

#include "manager/manager.h"

#define FX_RETRY_NS 1000000000ull /* after a launch that failed */

void fx_instances_init(void);

/* Launches the initial instances; -1 with the reason. */
int fx_launch_initial(struct fx_error *error);

/* --- single commands: 0, or -1 with the reason ------------------------------------------------ */

/* Whether the type has such a slot. */
int fx_check_slot(uint32_t type, int slot, struct fx_error *error);

/* In that slot, or (-1) the first that is stopped, which *taken receives. args: NULL, "": its own.
 */
int fx_launch(uint32_t type, int slot, const char *args, int *taken, struct fx_error *error);
int fx_block(uint32_t index, struct fx_error *error);
int fx_rerun(uint32_t index, struct fx_error *error);
int fx_stop(uint32_t index, struct fx_error *error);
int fx_kill(uint32_t index, struct fx_error *error);

void fx_set_pace(uint32_t type, double pps);

/* After a single command: what is there now is what is wanted. */
void fx_adopt_target(uint32_t type);

/* --- their parts, for whoever has checked what the commands check ------------------------------
 */

/* The instance stays stopped where this fails, and is not launched again for a while. */
void fx_begin_launch(uint32_t index, const char *args, uint64_t now, struct fx_error *error);

/* Finds the instance a process, a spare if there is one; its ring may hold packets already. */
int fx_start_process(uint32_t index, struct fx_error *error);
void fx_begin_rerun(uint32_t index, uint64_t now);

/* Blocks take two steps, so that many of them wait for the workers only once. */
void fx_begin_block(uint32_t index, uint64_t now);
void fx_finish_blocks(const uint32_t *index, uint32_t count);

/* Whether its messages are read, or at least there is room for one more. */
bool fx_listens(uint32_t index);

void fx_set_state(uint32_t index, enum fx_state state, uint64_t now);

/* --- what is known of them ------------------------------------------------------------------- */

uint32_t fx_count_instances(uint32_t type, enum fx_state state);
uint32_t fx_cores_held(void);

/* "TYPE.SLOT", valid until the next call. */
const char *fx_instance_name(uint32_t index);

/* An NF has said that something about it has changed: looks at all of them. */
void fx_instances_look(void);

#endif
