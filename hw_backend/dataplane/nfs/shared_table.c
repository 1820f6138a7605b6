#include "nfs/shared_table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <rte_memzone.h>

#define LOCK_TRIES    500
#define LOCK_PAUSE_US 10000

void nf_table_name(char name[NF_TABLE_NAME], const char *kind, const void *content, size_t size)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    const uint8_t *bytes = content;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    snprintf(name, NF_TABLE_NAME, "%.12s-%016" PRIx64, kind, hash);
}

int nf_table_lock(struct flexnfv_nf *nf, const char *path)
{
    int lock = open(path, O_RDONLY | O_CLOEXEC);
    if (lock < 0)
        return flexnfv_fail(nf, "%s: %s", path, strerror(errno));
    for (int tried = 0; flock(lock, LOCK_EX | LOCK_NB) != 0; tried++) {
        if (errno != EWOULDBLOCK || tried == LOCK_TRIES) {
            close(lock);
            return flexnfv_fail(nf, "%s: another instance has held its lock for %d s", path,
                                LOCK_TRIES * LOCK_PAUSE_US / 1000000);
        }
        usleep(LOCK_PAUSE_US);
    }
    return lock;
}

void nf_table_unlock(int lock)
{
    close(lock);
}

/* A memory zone of that name says that the table is complete: a zone cannot be there by half. */
bool nf_table_is_ready(const char *name)
{
    return rte_memzone_lookup(name) != NULL;
}

int nf_table_set_ready(struct flexnfv_nf *nf, const char *name)
{
    if (rte_memzone_reserve(name, 1, SOCKET_ID_ANY, 0))
        return 0;
    return flexnfv_fail(nf, "no room in the manager's memory for a table's mark");
}
