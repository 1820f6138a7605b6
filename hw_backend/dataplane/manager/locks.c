/*
 * DPDK's locks in shared memory, and who has died with one.
 *
 * An NF takes them while it starts: the lock of the memory map for a good part of that time. Killed
 * there, it leaves them held for ever. A write lock left behind stops every later start, a read
 * lock the growth of the heap. DPDK does not notice; the manager, which sees its NFs die, does.
 *
 * Where the locks are is DPDK's secret; that they lie in the file "config", which all its processes
 * map, is not. So each is taken once by its public function, and the word that changes is it.
 * Arrays ("memzone", "memseg-...") are found by their names, their struct is public.
 */
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

#include "manager/control.h"

#define ALONE_NS    20000000ull  /* held for so long and nobody starts: left behind */
#define STARTING_NS 100000000ull /* held for writing for so long: a start takes a tenth of it */

enum {
    HEAD_WORDS = 64, /* the locks are among the first words */
    PLAIN_LOCKS = 4,
    MAX_LOCKS = PLAIN_LOCKS + 1 + RTE_MAX_MEMSEG_LISTS,
};

static struct {
    const char *name;
    _Atomic uint32_t *word;
    uint32_t seen;
    uint64_t since_ns; /* seen like that */
} lock[MAX_LOCKS];

static uint32_t locks;
static bool suspected;
static char *config; /* the file, mapped once more */
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

/* The lock has been taken since remember(). */
static void find(const char *name)
{
    for (uint32_t i = 0; i < HEAD_WORDS; i++)
        if (before[i] == 0 && (head(i) == RTE_RWLOCK_WRITE || head(i) == RTE_RWLOCK_READ))
            add(name, config + i * sizeof(uint32_t));
}

static void in_walk(const struct rte_memzone *zone, void *first)
{
    (void)zone;
    if (*(bool *)first)
        find("memory zones");
    *(bool *)first = false;
}

static void find_plain(void)
{
    bool first = true;
    remember();
    rte_memzone_walk(in_walk, &first);
    rte_mcfg_tailq_write_lock();
    find("tail queues");
    rte_mcfg_tailq_write_unlock();
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
    /* Never closed: with any descriptor of it goes the lock by which DPDK knows its primary. */
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0)
        return fx_fail(error, "%.120s: %s", path, strerror(errno));
    size_t size = (size_t)about.st_size;
    config = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (config == MAP_FAILED)
        return fx_fail(error, "%.120s: %s", path, strerror(errno));
    find_plain();
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

static bool left_behind(uint32_t word, bool starting, uint64_t held_ns)
{
    if (starting)
        return word & RTE_RWLOCK_WRITE && held_ns > STARTING_NS;
    return held_ns > ALONE_NS;
}

void fx_locks_tick(bool starting, uint64_t now)
{
    uint32_t held = 0;
    for (uint32_t i = 0; suspected && i < locks; i++) {
        uint32_t word = atomic_load(lock[i].word);
        held += word != 0;
        if (word != lock[i].seen) {
            lock[i].seen = word;
            lock[i].since_ns = now;
        } else if (word != 0 && left_behind(word, starting, now - lock[i].since_ns) &&
                   atomic_compare_exchange_strong(lock[i].word, &word, 0)) {
            fx_log("a process that died in its start had left DPDK's lock of the %s: freed",
                   lock[i].name);
        }
    }
    suspected = suspected && (starting || held > 0);
}
