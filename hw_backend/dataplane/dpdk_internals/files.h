/* The files that DPDK's processes leave behind: in its runtime folder, and in mounts of huge pages.
 */
#ifndef FLEXNFV_FILES_H
#define FLEXNFV_FILES_H

/*
 * Before a start: NFs of a killed manager of this prefix hold its memory until they have noticed.
 * Waits for their end for a few seconds, and removes what the dead have left.
 */
void fx_files_wait_for_orphans(const char *prefix);

/* A secondary process has ended, perhaps by a kill: whoever finds its files thinks it is alive. */
void fx_files_remove_process(int pid);

/* The primary process ends: removes all files of its prefix. */
void fx_files_remove_all(const char *prefix);

#endif
