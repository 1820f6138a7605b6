/* The flow table, the token bucket and the page's reader. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "manager/flows.h"
#include "scalib/bucket.h"
#include "shared/page.h"

static struct fx_flow flow_of(uint32_t n)
{
    struct fx_flow flow = {.ip_version = 4, .proto = 17, .ethertype = 0x800};
    memcpy(flow.src, &n, sizeof(n));
    flow.dst[0] = 10;
    flow.sport = (uint16_t)(n * 7);
    flow.dport = 53;
    return flow;
}

static void both_directions_are_one_flow(void)
{
    struct fx_flow there = flow_of(1), back = there;
    memcpy(back.src, there.dst, 16);
    memcpy(back.dst, there.src, 16);
    back.sport = there.dport;
    back.dport = there.sport;
    CHECK(fx_flow_fingerprint(&there) == fx_flow_fingerprint(&back));
    back.sport++;
    CHECK(fx_flow_fingerprint(&there) != fx_flow_fingerprint(&back));
}

static void flows_are_found_until_older_ones_must_go(void)
{
    struct fx_flow_table *table = fx_flows_create();
    CHECK(table != NULL);
    for (uint32_t n = 0; n < 20000; n++) {
        struct fx_flow flow = flow_of(n);
        uint64_t fingerprint = fx_flow_fingerprint(&flow);
        CHECK(fx_flows_find(table, fingerprint) == FX_FLOW_UNKNOWN);
        fx_flows_install(table, fingerprint, (uint8_t)(n % 16));
    }
    uint32_t found = 0;
    for (uint32_t n = 0; n < 20000; n++) {
        struct fx_flow flow = flow_of(n);
        int chain = fx_flows_find(table, fx_flow_fingerprint(&flow));
        CHECK(chain == FX_FLOW_UNKNOWN || chain == (int)(n % 16));
        found += chain != FX_FLOW_UNKNOWN;
    }
    CHECK(found > 19990); /* eight ways: a set overflows once in a long while */
    struct fx_flow kept = flow_of(3);
    fx_flows_age(table);
    CHECK(fx_flows_find(table, fx_flow_fingerprint(&kept)) == 3);
    fx_flows_age(table);
    for (uint32_t n = 0; n < 100000; n++) {
        struct fx_flow flow = flow_of(1000000 + n);
        fx_flows_install(table, fx_flow_fingerprint(&flow), 1);
        if (n % 1000 == 0) /* in use: younger than what comes and stays unused */
            CHECK(fx_flows_find(table, fx_flow_fingerprint(&kept)) == 3);
        if (n % 1000 == 999)
            fx_flows_age(table);
    }
    fx_flows_clear(table);
    CHECK(fx_flows_find(table, fx_flow_fingerprint(&kept)) == FX_FLOW_UNKNOWN);
    free(table);
}

struct searcher {
    struct fx_flow_table *table;
    uint64_t fingerprint;
    _Atomic uint64_t rounds;
    _Atomic bool quit;
};

static void *search(void *argument)
{
    struct searcher *me = argument;
    while (!atomic_load(&me->quit)) {
        fx_flows_age(me->table);
        fx_flows_find(me->table, me->fingerprint);
        atomic_fetch_add(&me->rounds, 1);
    }
    return NULL;
}

/* The searcher refreshes the flow's age whenever it finds it. */
static void a_flow_that_is_gone_is_not_brought_back_by_who_found_it(void)
{
    struct fx_flow flow = flow_of(5);
    struct searcher searcher = {fx_flows_create(), fx_flow_fingerprint(&flow), 0, false};
    pthread_t thread;
    CHECK(searcher.table != NULL);
    CHECK(pthread_create(&thread, NULL, search, &searcher) == 0);
    for (int round = 0; round < 200; round++) {
        fx_flows_install(searcher.table, searcher.fingerprint, 7);
        uint64_t seen = atomic_load(&searcher.rounds);
        while (atomic_load(&searcher.rounds) < seen + 2)
            ;
        fx_flows_clear(searcher.table);
        seen = atomic_load(&searcher.rounds);
        while (atomic_load(&searcher.rounds) < seen + 2)
            ;
        CHECK(fx_flows_find(searcher.table, searcher.fingerprint) == FX_FLOW_UNKNOWN);
    }
    atomic_store(&searcher.quit, true);
    pthread_join(thread, NULL);
    free(searcher.table);
}

static void a_bucket_lets_its_rate_pass(void)
{
    const double hz = 1e9;
    struct fx_bucket bucket = {0};
    uint64_t now = 1000, passed = 0;
    fx_bucket_fill(&bucket, 50000, now, hz);
    CHECK(fx_bucket_allows(&bucket, 64) == 0);
    for (int tick = 0; tick < 2000; tick++) { /* 1 s, always hungry */
        now += 500000;
        fx_bucket_fill(&bucket, 50000, now, hz);
        uint16_t burst;
        while ((burst = fx_bucket_allows(&bucket, 64)) > 0) {
            fx_bucket_take(&bucket, burst);
            passed += burst;
        }
    }
    CHECK(passed >= 49999 && passed <= 50000);
    now += 5000000000ull; /* a pause fills it to its depth and no further */
    fx_bucket_fill(&bucket, 50000, now, hz);
    CHECK(bucket.tokens == 50000 * FX_BUCKET_DEPTH_S);
    fx_bucket_fill(&bucket, 100, now, hz);
    CHECK(bucket.tokens == 0);
}

static void the_page_is_read_whole_or_not_at_all(void)
{
    static struct fx_page page, copy;
    CHECK(fx_page_read(&page, &copy) == -1);
    page.magic = FX_PAGE_MAGIC;
    CHECK(fx_page_read(&page, &copy) == -2);
    page.abi_version = FX_ABI_VERSION;
    page.size = sizeof(page);
    page.offered = 7;
    CHECK(fx_page_read(&page, &copy) == 0 && copy.offered == 7);
    fx_page_begin(&page);
    page.offered = 8;
    CHECK(fx_page_read(&page, &copy) == -3);
    fx_page_end(&page);
    CHECK(fx_page_read(&page, &copy) == 0 && copy.offered == 8);
}

static void of_a_page_all_that_is_in_use_is_written_and_read(void)
{
    static struct fx_page draft, page, copy;
    draft.magic = FX_PAGE_MAGIC;
    draft.abi_version = FX_ABI_VERSION;
    draft.size = sizeof(draft);
    draft.types = draft.chains = draft.ports = 2;
    draft.type[0].max_instances = 3;
    draft.type[1].first = 3;
    draft.type[1].max_instances = 4;
    draft.type[1].unmapped = 11;
    draft.chain[1].shed = 12;
    draft.port[1].missed = 13;
    draft.instance[6].served = 14;
    draft.instance[7].served = 15;
    fx_page_write(&page, &draft);
    CHECK(fx_page_read(&page, &copy) == 0);
    CHECK(copy.type[1].unmapped == 11 && copy.chain[1].shed == 12 && copy.port[1].missed == 13);
    CHECK(copy.instance[6].served == 14 && copy.instance[7].served == 0);
    draft.instance[6].served = 16;
    fx_page_write(&page, &draft);
    CHECK(fx_page_read(&page, &copy) == 0 && copy.instance[6].served == 16);
    /* Counts that make no sense lead nowhere outside. */
    draft.types = UINT16_MAX;
    draft.chains = draft.ports = UINT16_MAX;
    draft.type[FX_MAX_TYPES - 1].first = UINT16_MAX;
    draft.instance[FX_MAX_INSTANCE_SLOTS - 1].served = 17;
    fx_page_write(&page, &draft);
    CHECK(fx_page_read(&page, &copy) == 0);
    CHECK(copy.instance[FX_MAX_INSTANCE_SLOTS - 1].served == 17);
}

int main(void)
{
    both_directions_are_one_flow();
    flows_are_found_until_older_ones_must_go();
    a_flow_that_is_gone_is_not_brought_back_by_who_found_it();
    a_bucket_lets_its_rate_pass();
    the_page_is_read_whole_or_not_at_all();
    of_a_page_all_that_is_in_use_is_written_and_read();
    return 0;
}
