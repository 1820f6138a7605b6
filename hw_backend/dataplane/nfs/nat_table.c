#include "nfs/nat_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/mapping.h"
#include "common/parse.h"

#define NONE       UINT32_MAX
#define CANDIDATES (65536 / FX_BUCKETS)
#define SWEEP_FULL 4096 /* entries looked through for room when all are taken */

enum { TCP = 6, ICMP = 1 };
/* RFC 5382, section 5 (established, else transitory); RFC 4787, 4.3; RFC 5508, 3.2. */
enum { TCP_ESTABLISHED_S = 7440, TCP_TRANSITORY_S = 240, UDP_S = 300, ICMP_S = 60 };

struct entry {
    struct nat_connection connection;
    uint32_t next_out, next_in; /* in its two chains; next_out is also the list of free entries */
    bool used;
};

struct nat_table {
    uint32_t outside;
    uint16_t low_port, high_port;
    uint16_t same_bucket[CANDIDATES]; /* XORed to a port: the flow bucket stays */
    uint32_t size, used, free, cursor, mask;
    uint64_t secret; /* so that nobody outside can aim for one chain */
    uint32_t *out, *in;
    struct entry *entries;
};

static uint32_t chain(const struct nat_table *table, uint8_t protocol, uint16_t port,
                      uint32_t remote, uint16_t remote_port, uint32_t inside)
{
    uint64_t x = table->secret ^ ((uint64_t)remote << 32 | (uint32_t)port << 16 | remote_port);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u; /* splitmix64's finaliser, twice */
    x ^= (uint64_t)inside << 8 | protocol;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    return (uint32_t)(x >> 32) & table->mask;
}

static uint32_t out_chain(const struct nat_table *table, const struct nat_connection *connection)
{
    return chain(table, connection->protocol, connection->inside_port, connection->remote,
                 connection->remote_port, connection->inside);
}

static uint32_t in_chain(const struct nat_table *table, const struct nat_connection *connection)
{
    return chain(table, connection->protocol, connection->outside_port, connection->remote,
                 connection->remote_port, 0);
}

struct nat_table *nat_table_create(uint32_t outside, uint32_t connections, uint16_t low_port,
                                   uint16_t high_port)
{
    uint32_t chains = 1;
    while (chains < connections)
        chains *= 2;
    struct nat_table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    *table = (struct nat_table){.outside = outside,
                                .low_port = low_port,
                                .high_port = high_port,
                                .size = connections,
                                .mask = chains - 1,
                                .out = malloc(chains * sizeof(*table->out)),
                                .in = malloc(chains * sizeof(*table->in)),
                                .entries = calloc(connections, sizeof(*table->entries))};
    if (!table->out || !table->in || !table->entries ||
        getrandom(&table->secret, sizeof(table->secret), 0) != sizeof(table->secret)) {
        nat_table_destroy(table);
        return NULL;
    }
    memset(table->out, 0xFF, chains * sizeof(*table->out));
    memset(table->in, 0xFF, chains * sizeof(*table->in));
    for (uint32_t i = 0; i < connections; i++)
        table->entries[i].next_out = i + 1 < connections ? i + 1 : NONE;
    for (uint32_t word = 0, found = 0; word <= UINT16_MAX; word++)
        if (fx_toeplitz((uint16_t)word) % FX_BUCKETS == 0)
            table->same_bucket[found++] = (uint16_t)word;
    return table;
}

void nat_table_destroy(struct nat_table *table)
{
    free(table->out);
    free(table->in);
    free(table->entries);
    free(table);
}

static void unlink_entry(struct nat_table *table, uint32_t index)
{
    struct entry *entry = &table->entries[index];
    uint32_t *at = &table->out[out_chain(table, &entry->connection)];
    while (*at != index)
        at = &table->entries[*at].next_out;
    *at = entry->next_out;
    at = &table->in[in_chain(table, &entry->connection)];
    while (*at != index)
        at = &table->entries[*at].next_in;
    *at = entry->next_in;
    entry->used = false;
    entry->next_out = table->free;
    table->free = index;
    table->used--;
}

void nat_table_sweep(struct nat_table *table, uint32_t count, uint64_t now_s)
{
    for (; count > 0 && table->used > 0; count--) {
        const struct entry *entry = &table->entries[table->cursor];
        if (entry->used && entry->connection.expires_s <= now_s)
            unlink_entry(table, table->cursor);
        table->cursor = table->cursor + 1 < table->size ? table->cursor + 1 : 0;
    }
}

uint32_t nat_table_count(const struct nat_table *table)
{
    return table->used;
}

/* The entry whatever its age, or NONE. */
static uint32_t find_out(const struct nat_table *table, const struct nat_connection *wanted)
{
    uint32_t index = table->out[out_chain(table, wanted)];
    while (index != NONE) {
        const struct nat_connection *found = &table->entries[index].connection;
        if (found->inside == wanted->inside && found->remote == wanted->remote &&
            found->inside_port == wanted->inside_port &&
            found->remote_port == wanted->remote_port && found->protocol == wanted->protocol)
            break;
        index = table->entries[index].next_out;
    }
    return index;
}

/* The entry whatever its age, or NONE: an expired one still stands in the way of a new one. */
static uint32_t find_in(const struct nat_table *table, uint8_t protocol, uint16_t outside_port,
                        uint32_t remote, uint16_t remote_port)
{
    uint32_t index = table->in[chain(table, protocol, outside_port, remote, remote_port, 0)];
    while (index != NONE) {
        const struct nat_connection *found = &table->entries[index].connection;
        if (found->remote == remote && found->outside_port == outside_port &&
            found->remote_port == remote_port && found->protocol == protocol)
            return index;
        index = table->entries[index].next_in;
    }
    return NONE;
}

struct nat_connection *nat_table_find_in(struct nat_table *table, uint8_t protocol,
                                         uint16_t outside_port, uint32_t remote,
                                         uint16_t remote_port, uint64_t now_s)
{
    uint32_t index = find_in(table, protocol, outside_port, remote, remote_port);
    if (index == NONE || table->entries[index].connection.expires_s <= now_s)
        return NULL;
    return &table->entries[index].connection;
}

static uint16_t fold(uint32_t address)
{
    return (uint16_t)(address >> 16 ^ address);
}

/* The first free outside port in the flow's own bucket; 0 if all are taken. */
static uint16_t choose_port(struct nat_table *table, const struct nat_connection *wanted,
                            uint64_t now_s)
{
    /* With this one the whole hash stays as it was. */
    uint16_t first = wanted->inside_port;
    if (wanted->protocol != ICMP)
        first ^= fold(wanted->inside) ^ fold(table->outside);
    for (int i = 0; i < CANDIDATES; i++) {
        uint16_t port = first ^ table->same_bucket[i];
        if (port < table->low_port || port > table->high_port)
            continue;
        uint32_t taken =
            find_in(table, wanted->protocol, port, wanted->remote, wanted->remote_port);
        if (taken != NONE && table->entries[taken].connection.expires_s > now_s)
            continue;
        if (taken != NONE)
            unlink_entry(table, taken);
        return port;
    }
    return 0;
}

static struct nat_connection *add(struct nat_table *table, struct nat_connection *connection,
                                  uint64_t now_s)
{
    if (table->free == NONE)
        nat_table_sweep(table, SWEEP_FULL, now_s);
    if (table->free == NONE)
        return NULL;
    connection->outside_port = choose_port(table, connection, now_s);
    if (connection->outside_port == 0)
        return NULL;
    uint32_t index = table->free;
    struct entry *entry = &table->entries[index];
    table->free = entry->next_out;
    table->used++;
    entry->used = true;
    entry->connection = *connection;
    uint32_t *out = &table->out[out_chain(table, connection)];
    uint32_t *in = &table->in[in_chain(table, connection)];
    entry->next_out = *out;
    entry->next_in = *in;
    *out = *in = index;
    return &entry->connection;
}

struct nat_connection *nat_table_out(struct nat_table *table, uint8_t protocol, uint32_t inside,
                                     uint16_t inside_port, uint32_t remote, uint16_t remote_port,
                                     uint64_t now_s)
{
    struct nat_connection wanted = {.protocol = protocol,
                                    .inside = inside,
                                    .inside_port = inside_port,
                                    .remote = remote,
                                    .remote_port = remote_port};
    uint32_t index = find_out(table, &wanted);
    if (index != NONE && table->entries[index].connection.expires_s <= now_s) {
        unlink_entry(table, index);
        index = NONE;
    }
    struct nat_connection *connection =
        index == NONE ? add(table, &wanted, now_s) : &table->entries[index].connection;
    if (connection)
        nat_connection_touch(connection, now_s);
    return connection;
}

struct nat_connection *nat_table_find_out(struct nat_table *table, uint8_t protocol,
                                          uint32_t inside, uint16_t inside_port, uint32_t remote,
                                          uint16_t remote_port, uint64_t now_s)
{
    struct nat_connection wanted = {.protocol = protocol,
                                    .inside = inside,
                                    .inside_port = inside_port,
                                    .remote = remote,
                                    .remote_port = remote_port};
    uint32_t index = find_out(table, &wanted);
    if (index == NONE || table->entries[index].connection.expires_s <= now_s)
        return NULL;
    return &table->entries[index].connection;
}

void nat_connection_touch(struct nat_connection *connection, uint64_t now_s)
{
    uint64_t timeout_s = UDP_S;
    if (connection->protocol == TCP)
        timeout_s =
            connection->answered && !connection->closing ? TCP_ESTABLISHED_S : TCP_TRANSITORY_S;
    else if (connection->protocol == ICMP)
        timeout_s = ICMP_S;
    connection->expires_s = now_s + timeout_s;
}
