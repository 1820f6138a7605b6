#include "shared/page.h"

#include <string.h>
#include <unistd.h>

enum { SPINS = 100, TRIES = 20000, NAP_US = 50 };

/* A writer that was interrupted may need the very CPU that we wait on. */
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
        memcpy(copy, page, sizeof(*copy));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&page->sequence, __ATOMIC_RELAXED) == before)
            return 0;
    }
    return -3;
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
