/*
 * An NF takes DPDK's locks while it starts, that of the memory map for a good part of the time. An
 * NF that is killed there leaves them held for ever: a write lock then stops every later start, a
 * read lock stops the heap from growing. DPDK does not notice the death. The manager does, and
 * frees what the dead NF held. The heap's own lock is left alone: an NF that died with it may have
 * left the heap half changed.
 *
 * DPDK does not tell where its locks are, only that they lie in the file "config", which all its
 * processes map. So the manager takes each lock once by DPDK's public function and looks which word
 * of the file changes. DPDK's arrays ("memzone", "memseg-...") hold their locks in a public struct,
 * and are found by their names.
 */
#include "dpdk_internals/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_eal_memconfig.h>
#include <rte_fbarray.h>
#include <rte_memzone.h>
#include <rte_rwlock.h>

/*
 * No process that is alive holds a lock for so long, unless the whole machine has paused. A pause
 * is told apart by LOOKS: the manager has then looked at the lock only a few times.
 */
#define LIMIT_NS 1000000000ull

enum {
    HEAD_WORDS = 64, /* the locks are among the first words */
    LOOKS = 5,
    ATTEMPTS = 20,
    PAUSE_US = 10000,
    PLAIN_LOCKS = 4,
    MAX_LOCKS = PLAIN_LOCKS + 1 + RTE_MAX_MEMSEG_LISTS,
};

/* In the order in which DPDK takes them where it takes several. */
static struct {
    const char *name;
    _Atomic uint32_t *word;
    uint32_t seen, looks; /* the value that it had at the last so many looks */
    uint64_t since_ns;
} lock[MAX_LOCKS];

static uint32_t locks;
static bool suspected;
static char *config; /* DPDK's file, which this process maps a second time */
static uint32_t before[HEAD_WORDS];

static uint32_t head(uint32_t i)
{
    return atomic_load((_Atomic uint32_t *)(void *)(config + i * sizeof(uint32_t)));
}

static void remember(void)
{
    for (uint32_t i = 0; i < HEAD_WORDS; i++)
        before[i] = head(i);
}

static void add(const char *name, void *word)
{
    if (locks < MAX_LOCKS) {
        lock[locks].name = name;
        lock[locks++].word = word;
    }
}

/* The lock is the word that has gone from free to taken since remember(). */
static void find(const char *name)
{
    for (uint32_t i = 0; i < HEAD_WORDS; i++)
        if (before[i] == 0 && (head(i) == RTE_RWLOCK_WRITE || head(i) == RTE_RWLOCK_READ))
            add(name, config + i * sizeof(uint32_t));
}

static void in_walk(const struct rte_memzone *zone, void *unused)
{
    (void)zone;
    (void)unused;
    if (locks == 1) /* the walk comes here once for every zone */
        find("memory zones");
}

static void find_plain(void)
{
    locks = 0;
    remember();
    rte_mcfg_tailq_write_lock();
    find("tail queues");
    rte_mcfg_tailq_write_unlock();
    rte_memzone_walk(in_walk, NULL);
    rte_mcfg_mempool_write_lock();
    find("memory pools");
    rte_mcfg_mempool_write_unlock();
    rte_mcfg_mem_write_lock();
    find("memory map");
    rte_mcfg_mem_write_unlock();
}

static void find_arrays(size_t size)
{
    for (size_t at = 0; at + sizeof(struct rte_fbarray) <= size; at += sizeof(void *)) {
        struct rte_fbarray *array = (void *)(config + at);
        if (strncmp(array->name, "memseg-", 7) == 0 || strcmp(array->name, "memzone") == 0)
            add(array->name, &array->rwlock);
    }
}

int fx_locks_init(struct fx_error *error)
{
    char path[512];
    struct stat about;
    snprintf(path, sizeof(path), "%s/config", rte_eal_get_runtime_dir());
    /*
     * The descriptor is never closed: closing any descriptor of the file would drop the file lock
     * by which DPDK knows that its primary process is alive.
     */
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0)
        return fx_fail(error, "%.120s: %s", path, strerror(errno));
    size_t size = (size_t)about.st_size;
    config = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (config == MAP_FAILED)
        return fx_fail(error, "%.120s: %s", path, strerror(errno));
    find_plain();
    for (int n = 1; n < ATTEMPTS && locks != PLAIN_LOCKS;
         n++) { /* another process took one meanwhile */
        usleep(PAUSE_US);
        find_plain();
    }
    if (locks != PLAIN_LOCKS)
        return fx_fail(error, "%.120s: %u of DPDK's %d locks found, is it another version?", path,
                       locks, PLAIN_LOCKS);
    find_arrays(size);
    return 0;
}

void fx_locks_suspect(void)
{
    suspected = true;
}

/* Whether whoever starts would wait: for a writer that holds it, or for one that waits itself. */
static bool stops_a_start(uint32_t word)
{
    return word & RTE_RWLOCK_MASK;
}

static void look(uint32_t i, uint64_t now)
{
    uint32_t word = atomic_load(lock[i].word);
    if (word != lock[i].seen) {
        lock[i].seen = word;
        lock[i].since_ns = now;
        lock[i].looks = 0;
    }
    lock[i].looks++;
}

static bool left_behind(uint32_t i, bool starting, uint64_t now)
{
    return lock[i].seen != 0 && lock[i].looks >= LOOKS && now - lock[i].since_ns > LIMIT_NS &&
           (!starting || stops_a_start(lock[i].seen));
}

/*
 * Frees one lock at a time, beginning with the one that is taken last: a living process that waits
 * for this one may rightly hold the others, and goes on once it is free.
 */
static void free_one(bool starting, uint64_t now)
{
    uint32_t i = locks;
    while (i > 0 && !left_behind(i - 1, starting, now))
        i--;
    uint32_t word = i > 0 ? lock[i - 1].seen : 0;
    if (i == 0 || !atomic_compare_exchange_strong(lock[i - 1].word, &word, 0))
        return;
    fx_log("a process that died had left DPDK's lock of the %s: freed", lock[i - 1].name);
    for (uint32_t k = 0; k < locks; k++)
        lock[k].seen = 0;
}

void fx_locks_tick(bool starting, uint64_t now)
{
    if (!suspected)
        return;
    suspected = starting;
    for (uint32_t i = 0; i < locks; i++) {
        look(i, now);
        suspected |= lock[i].seen != 0;
    }
    free_one(starting, now);
}

void fx_locks_end(void)
{
    for (uint32_t i = 0; i < locks; i++)
        atomic_store(lock[i].word, 0);
}
