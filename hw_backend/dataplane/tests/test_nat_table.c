#include <string.h>

#include "check.h"
#include "common/mapping.h"
#include "common/parse.h"
#include "nfs/nat_table.h"

enum { TCP = 6, UDP = 17, ICMP = 1 };
enum { OUTSIDE = 0xCB007101, INSIDE = 0x0A000000, REMOTE = 0xC0000200, ALL = 65536 };

static uint32_t hash(uint32_t a, uint32_t b, uint16_t port_a, uint16_t port_b)
{
    uint32_t words = a ^ b;
    return fx_toeplitz((uint16_t)(words >> 16 ^ words ^ port_a ^ port_b));
}

static struct nat_table *create(uint32_t connections)
{
    struct nat_table *table = nat_table_create(OUTSIDE, connections, 1024, 65535);
    CHECK(table != NULL);
    return table;
}

static void both_directions_share_a_bucket(void)
{
    struct nat_table *table = create(ALL);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t inside = INSIDE + i * 2654435761u % 65536, remote = REMOTE + i % 7;
        uint16_t port = (uint16_t)(1024 + i * 40503u % 60000);
        struct nat_connection *made = nat_table_out(table, UDP, inside, port, remote, 53, 1);
        CHECK(made != NULL);
        CHECK(made->outside_port >= 1024);
        CHECK_EQ(hash(OUTSIDE, remote, made->outside_port, 53) % FX_BUCKETS,
                 hash(inside, remote, port, 53) % FX_BUCKETS);
        CHECK(nat_table_find_in(table, UDP, made->outside_port, remote, 53, 1) == made);
        CHECK(nat_table_out(table, UDP, inside, port, remote, 53, 1) == made);
    }
    nat_table_destroy(table);
}

static void an_outside_endpoint_stands_for_one_inside_endpoint(void)
{
    struct nat_table *table = create(ALL);
    static uint8_t taken[65536];
    uint32_t made = 0;
    for (uint32_t i = 0; i < ALL; i++) { /* every host with the same port to the same remote */
        struct nat_connection *connection =
            nat_table_out(table, TCP, INSIDE + i, 5000, REMOTE, 443, 1);
        if (!connection)
            continue;
        made++;
        CHECK(!taken[connection->outside_port]);
        taken[connection->outside_port] = 1;
    }
    CHECK_EQ(made, 65536 - 1024); /* every port that there is, and no more */
    CHECK_EQ(nat_table_count(table), made);
    CHECK(nat_table_out(table, TCP, INSIDE, 5000, REMOTE + 1, 443, 1) != NULL ||
          nat_table_count(table) == ALL); /* another remote has its own ports */
    nat_table_destroy(table);
}

static void the_whole_hash_stays_where_the_first_port_is_free(void)
{
    struct nat_table *table = create(16);
    struct nat_connection *made = nat_table_out(table, UDP, INSIDE + 77, 40000, REMOTE, 53, 1);
    CHECK_EQ(hash(OUTSIDE, REMOTE, made->outside_port, 53), hash(INSIDE + 77, REMOTE, 40000, 53));
    nat_table_destroy(table);
}

static void connections_expire(void)
{
    static const struct {
        uint8_t protocol;
        bool answered, closing;
        uint64_t lives_s;
    } rows[] = {
        {UDP, true, false, 300},  {ICMP, true, false, 60}, {TCP, false, false, 240},
        {TCP, true, false, 7440}, {TCP, true, true, 240},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nat_table *table = create(4);
        uint64_t now = 1000, end = now + rows[i].lives_s;
        struct nat_connection *made =
            nat_table_out(table, rows[i].protocol, INSIDE, 5000, REMOTE, 0, now);
        made->answered = rows[i].answered;
        made->closing = rows[i].closing;
        nat_connection_touch(made, now);
        uint16_t port = made->outside_port;
        CHECK(nat_table_find_in(table, rows[i].protocol, port, REMOTE, 0, end - 1) != NULL);
        CHECK(nat_table_find_in(table, rows[i].protocol, port, REMOTE, 0, end) == NULL);
        CHECK(nat_table_find_out(table, rows[i].protocol, INSIDE, 5000, REMOTE, 0, end) == NULL);
        nat_table_sweep(table, 4, end - 1);
        CHECK_EQ(nat_table_count(table), 1);
        nat_table_sweep(table, 4, end);
        CHECK_EQ(nat_table_count(table), 0);
        nat_table_destroy(table);
    }
}

static void a_full_table_takes_new_ones_when_old_ones_expire(void)
{
    struct nat_table *table = create(100);
    for (uint32_t i = 0; i < 100; i++)
        CHECK(nat_table_out(table, UDP, INSIDE + i, 5000, REMOTE, 53, i) != NULL);
    CHECK(nat_table_out(table, UDP, INSIDE + 100, 5000, REMOTE, 53, 299) == NULL);
    CHECK(nat_table_out(table, UDP, INSIDE + 100, 5000, REMOTE, 53, 300) != NULL);
    CHECK(nat_table_find_out(table, UDP, INSIDE, 5000, REMOTE, 53, 300) == NULL);
    CHECK(nat_table_find_out(table, UDP, INSIDE + 1, 5000, REMOTE, 53, 300) != NULL);
    nat_table_destroy(table);
}

static void an_expired_connection_starts_afresh(void)
{
    struct nat_table *table = create(4);
    struct nat_connection *made = nat_table_out(table, TCP, INSIDE, 5000, REMOTE, 443, 1);
    made->answered = made->closing = true;
    nat_connection_touch(made, 1);
    made = nat_table_out(table, TCP, INSIDE, 5000, REMOTE, 443, 241);
    CHECK(made && !made->answered && !made->closing);
    CHECK_EQ(nat_table_count(table), 1);
    nat_table_destroy(table);
}

/* Many random changes; the counts and both look-ups stay whole. */
static void it_stays_whole_under_churn(void)
{
    struct nat_table *table = create(500);
    uint64_t state = 7, now = 0;
    for (int i = 0; i < 200000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t inside = INSIDE + (state >> 40) % 300;
        uint8_t protocol = (state >> 20) % 3 == 0 ? TCP : (state >> 20) % 3 == 1 ? UDP : ICMP;
        now += (state >> 60) == 0;
        struct nat_connection *made =
            nat_table_out(table, protocol, inside, 7, REMOTE + (state >> 50) % 3, 0, now);
        if (made)
            CHECK(nat_table_find_in(table, protocol, made->outside_port, made->remote, 0, now) ==
                  made);
        nat_table_sweep(table, (state >> 33) % 4, now);
        CHECK(nat_table_count(table) <= 500);
    }
    nat_table_sweep(table, 500, now + 10000);
    CHECK_EQ(nat_table_count(table), 0);
    nat_table_destroy(table);
}

int main(void)
{
    both_directions_share_a_bucket();
    an_outside_endpoint_stands_for_one_inside_endpoint();
    the_whole_hash_stays_where_the_first_port_is_free();
    connections_expire();
    a_full_table_takes_new_ones_when_old_ones_expire();
    an_expired_connection_starts_afresh();
    it_stays_whole_under_churn();
    return 0;
}
