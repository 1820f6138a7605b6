#include "shared/page.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { SPINS = 100, TRIES = 20000, NAP_US = 50 };

/* The writer may have been interrupted, and may need the very CPU on which this reader waits. */
static void await_writer(int attempt)
{
    if (attempt < SPINS)
        __builtin_ia32_pause();
    else
        usleep(NAP_US);
}

static uint32_t sequence_of(const struct fx_page *page)
{
    return __atomic_load_n(&page->sequence, __ATOMIC_ACQUIRE);
}

static size_t least(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* Copies only the small part that is in use: a page is written on one core and read on another, so
 * that every cache line of it costs a transfer. */
static void copy_used(struct fx_page *to, const struct fx_page *from)
{
    size_t types = least(from->types, FX_MAX_TYPES), chains = least(from->chains, FX_MAX_CHAINS),
           ports = least(from->ports, FX_MAX_PORTS), instances = 0;
    if (types > 0)
        instances = least((size_t)from->type[types - 1].first + from->type[types - 1].max_instances,
                          FX_MAX_INSTANCE_SLOTS);
    memcpy(to, from, offsetof(struct fx_page, type));
    memcpy(to->type, from->type, types * sizeof(to->type[0]));
    memcpy(to->chain, from->chain, chains * sizeof(to->chain[0]));
    memcpy(to->port, from->port, ports * sizeof(to->port[0]));
    memcpy(to->instance, from->instance, instances * sizeof(to->instance[0]));
}

int fx_page_read(const struct fx_page *page, struct fx_page *copy)
{
    if (page->magic != FX_PAGE_MAGIC)
        return -1;
    if (page->abi_version != FX_ABI_VERSION || page->size != sizeof(*page))
        return -2;
    for (int attempt = 0; attempt < TRIES; attempt++) {
        uint32_t before = sequence_of(page);
        if (before & 1) {
            await_writer(attempt);
            continue;
        }
        copy_used(copy, page);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&page->sequence, __ATOMIC_RELAXED) == before)
            return 0;
    }
    return -3;
}

void fx_page_write(struct fx_page *page, struct fx_page *draft)
{
    fx_page_begin(page);
    draft->sequence = page->sequence;
    copy_used(page, draft);
    fx_page_end(page);
}

void fx_page_begin(struct fx_page *page)
{
    __atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

void fx_page_end(struct fx_page *page)
{
    __atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_RELEASE);
}
