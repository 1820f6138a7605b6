/* The flow set is flexnfv/flows.py's, and draws follow its popularity. */
#include "check.h"
#include "flows.h"

#include <math.h>

static void first_flows_are_the_documented_ones(void)
{
    static const struct five_tuple expected[] = {
        {0xC6125CC1, 0xC6138902, 12596, 45389},
        {0xC612555E, 0xC613FB32, 42082, 38600},
        {0xC612B5B9, 0xC613D101, 22404, 480},
        {0xC6123CA5, 0xC613D736, 60602, 25624},
    };
    for (uint32_t flow = 0; flow < 4; flow++) {
        struct five_tuple t = flow_tuple(1, flow);
        CHECK_EQ(t.src_ip, expected[flow].src_ip);
        CHECK_EQ(t.dst_ip, expected[flow].dst_ip);
        CHECK_EQ(t.src_port, expected[flow].src_port);
        CHECK_EQ(t.dst_port, expected[flow].dst_port);
    }
}

static void splitmix64_is_the_published_generator(void)
{
    CHECK(splitmix64(0, 0) == 0xE220A8397B1DCDAFull);
    CHECK(splitmix64(0, 1) == 0x6E789E6AA1B965F4ull);
}

/* Chi-square over all flows; its standard deviation is about sqrt(2 * flows). */
static void draws_follow_popularity(uint32_t flows, double zipf)
{
    enum { DRAWS = 2000000 };
    struct picker picker;
    double sum = 0, chi_square = 0;
    uint32_t *seen = calloc(flows, sizeof(*seen));
    CHECK(seen && picker_init(&picker, flows, zipf, 7) == 0);
    for (uint32_t i = 0; i < DRAWS; i++) {
        uint32_t flow = picker_next(&picker);
        CHECK(flow < flows);
        seen[flow]++;
    }
    for (uint32_t flow = 0; flow < flows; flow++)
        sum += pow(flow + 1.0, -zipf);
    for (uint32_t flow = 0; flow < flows; flow++) {
        double expected = DRAWS * pow(flow + 1.0, -zipf) / sum;
        chi_square += (seen[flow] - expected) * (seen[flow] - expected) / expected;
    }
    CHECK(fabs(chi_square - (flows - 1)) < 5 * sqrt(2.0 * flows) + 10);
    free(seen);
    picker_free(&picker);
}

static void equal_seeds_draw_equal_flows(void)
{
    struct picker a, b, c;
    uint32_t same = 0;
    CHECK(picker_init(&a, 1000, 0.9, 3) == 0 && picker_init(&b, 1000, 0.9, 3) == 0);
    CHECK(picker_init(&c, 1000, 0.9, 4) == 0);
    for (int i = 0; i < 1000; i++) {
        uint32_t flow = picker_next(&a);
        CHECK_EQ(flow, picker_next(&b));
        same += flow == picker_next(&c);
    }
    CHECK(same < 500);
    picker_free(&a);
    picker_free(&b);
    picker_free(&c);
}

int main(void)
{
    first_flows_are_the_documented_ones();
    splitmix64_is_the_published_generator();
    draws_follow_popularity(1, 0);
    draws_follow_popularity(2, 1);
    draws_follow_popularity(1000, 0);
    draws_follow_popularity(1000, 1);
    draws_follow_popularity(4096, 0.5);
    draws_follow_popularity(8, 2);
    equal_seeds_draw_equal_flows();
    return 0;
}
