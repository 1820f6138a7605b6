/*
 * firewall: stateless; passes or drops IP packets by the first rule that matches, as a file has it:
 *
 *     # action  protocol  source           ports  destination    ports
 *     deny      tcp       any              any    10.0.0.0/8     22
 *     allow     udp       192.0.2.0/24     any    any            53-54
 *     default   deny
 *
 * A later fragment has no ports: it matches an allow rule by protocol and addresses alone, and a
 * deny rule only if that asks for no ports; without its first fragment it is of no use to anybody.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_acl.h>

#include "common/parse.h"
#include "nfs/lines.h"
#include "nfs/options.h"
#include "nfs/shared_table.h"
#include "scalib/scalib.h"

#define RULES_MAX 4096

struct rule {
    struct nf_prefix source, destination; /* version 0: any */
    uint16_t source_ports[2], destination_ports[2];
    uint8_t protocol;
    uint8_t any_protocol;
    uint8_t allow;
    uint8_t version; /* 0: both */
};

struct rule_file {
    struct rule *rules;
    uint32_t count;
    int default_allow; /* -1: not said yet */
};

/* What rte_acl looks at, in network order. `later` is 1 for a fragment behind the first. */
struct key4 {
    uint8_t protocol, pad[3];
    uint32_t source, destination;
    uint16_t source_port, destination_port;
    uint32_t later;
};

struct key6 {
    uint8_t protocol, pad[3];
    uint32_t source[4], destination[4];
    uint16_t source_port, destination_port;
    uint32_t later;
};

enum { PROTOCOL4, SOURCE4, DESTINATION4, SOURCE_PORT4, DESTINATION_PORT4, LATER4, FIELDS4 };

enum {
    PROTOCOL6,
    SOURCE6,
    DESTINATION6 = SOURCE6 + 4,
    SOURCE_PORT6 = DESTINATION6 + 4,
    DESTINATION_PORT6,
    LATER6,
    FIELDS6
};

/* `group` counts the runs of 4 bytes that rte_acl reads the key in. */
#define FIELD(index, type_, size_, group, key, member)                                             \
    [index] = {.type = RTE_ACL_FIELD_TYPE_##type_,                                                 \
               .size = size_,                                                                      \
               .field_index = index,                                                               \
               .input_index = group,                                                               \
               .offset = offsetof(struct key, member)}

static const struct rte_acl_field_def fields4[FIELDS4] = {
    FIELD(PROTOCOL4, BITMASK, 1, 0, key4, protocol),
    FIELD(SOURCE4, MASK, 4, 1, key4, source),
    FIELD(DESTINATION4, MASK, 4, 2, key4, destination),
    FIELD(SOURCE_PORT4, RANGE, 2, 3, key4, source_port),
    FIELD(DESTINATION_PORT4, RANGE, 2, 3, key4, destination_port),
    FIELD(LATER4, BITMASK, 4, 4, key4, later),
};

static const struct rte_acl_field_def fields6[FIELDS6] = {
    FIELD(PROTOCOL6, BITMASK, 1, 0, key6, protocol),
    FIELD(SOURCE6, MASK, 4, 1, key6, source[0]),
    FIELD(SOURCE6 + 1, MASK, 4, 2, key6, source[1]),
    FIELD(SOURCE6 + 2, MASK, 4, 3, key6, source[2]),
    FIELD(SOURCE6 + 3, MASK, 4, 4, key6, source[3]),
    FIELD(DESTINATION6, MASK, 4, 5, key6, destination[0]),
    FIELD(DESTINATION6 + 1, MASK, 4, 6, key6, destination[1]),
    FIELD(DESTINATION6 + 2, MASK, 4, 7, key6, destination[2]),
    FIELD(DESTINATION6 + 3, MASK, 4, 8, key6, destination[3]),
    FIELD(SOURCE_PORT6, RANGE, 2, 9, key6, source_port),
    FIELD(DESTINATION_PORT6, RANGE, 2, 9, key6, destination_port),
    FIELD(LATER6, BITMASK, 4, 10, key6, later),
};

RTE_ACL_RULE_DEF(acl_rule, FIELDS6);

struct firewall {
    struct rte_acl_ctx *acl4, *acl6; /* NULL: no rule of that version */
    struct rule_file file;
    uint64_t *hits; /* of each rule, then of the default */
    uint64_t unsound;
    struct key4 keys4[FX_BURST];
    struct key6 keys6[FX_BURST];
};

/* --- the file ------------------------------------------------------------------------------- */

static int read_protocol(const char *text, struct rule *rule)
{
    static const struct {
        const char *name;
        uint8_t number;
    } known[] = {{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"icmpv6", 58}, {"sctp", 132}};
    if (strcmp(text, "any") == 0) {
        rule->any_protocol = 1;
        return 0;
    }
    for (size_t i = 0; i < RTE_DIM(known); i++) {
        if (strcmp(text, known[i].name) == 0) {
            rule->protocol = known[i].number;
            return 0;
        }
    }
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    rule->protocol = (uint8_t)number;
    return end == text || *end || number > 255 || text[0] == '-' ? -1 : 0;
}

static int read_ports(const char *text, uint16_t ports[2])
{
    unsigned low, high;
    int used = 0;
    ports[0] = 0;
    ports[1] = UINT16_MAX;
    if (strcmp(text, "any") == 0)
        return 0;
    if (sscanf(text, "%5u%n-%5u%n", &low, &used, &high, &used) == 1)
        high = low;
    if (!used || text[used] || low > high || high > UINT16_MAX)
        return -1;
    ports[0] = (uint16_t)low;
    ports[1] = (uint16_t)high;
    return 0;
}

static int read_address(const char *text, struct nf_prefix *prefix)
{
    memset(prefix, 0, sizeof(*prefix));
    return strcmp(text, "any") == 0 ? 0 : nf_prefix_read(text, prefix);
}

static bool asks_for_ports(const struct rule *rule)
{
    return rule->source_ports[0] || rule->source_ports[1] != UINT16_MAX ||
           rule->destination_ports[0] || rule->destination_ports[1] != UINT16_MAX;
}

static bool has_ports(const struct rule *rule)
{
    return !rule->any_protocol && (rule->protocol == IPPROTO_TCP || rule->protocol == IPPROTO_UDP ||
                                   rule->protocol == IPPROTO_SCTP);
}

static int read_action(const char *text)
{
    return strcmp(text, "allow") == 0 ? 1 : strcmp(text, "deny") == 0 ? 0 : -1;
}

static int take_default(struct flexnfv_nf *nf, struct rule_file *file, const struct nf_line *line)
{
    if (line->count != 2 || read_action(line->words[1]) < 0)
        return nf_line_fail(nf, line, "write 'default allow' or 'default deny'");
    if (file->default_allow >= 0)
        return nf_line_fail(nf, line, "a second default");
    file->default_allow = read_action(line->words[1]);
    return 0;
}

static int take_line(struct flexnfv_nf *nf, void *context, const struct nf_line *line)
{
    struct rule_file *file = context;
    char *const *words = line->words;
    if (strcmp(words[0], "default") == 0)
        return take_default(nf, file, line);
    if (file->count == RULES_MAX)
        return nf_line_fail(nf, line, "more than %d rules", RULES_MAX);
    struct rule *rule = &file->rules[file->count];
    if (line->count != 6)
        return nf_line_fail(nf, line,
                            "%d words; write action, protocol, source, ports, destination, ports",
                            line->count);
    if (read_action(words[0]) < 0)
        return nf_line_fail(nf, line, "action '%s'; write allow, deny or default", words[0]);
    rule->allow = (uint8_t)read_action(words[0]);
    if (read_protocol(words[1], rule) != 0)
        return nf_line_fail(nf, line,
                            "protocol '%s'; write any, tcp, udp, sctp, icmp, icmpv6 or "
                            "a number",
                            words[1]);
    if (read_address(words[2], &rule->source) != 0)
        return nf_line_fail(nf, line, "source '%s' is no prefix", words[2]);
    if (read_address(words[4], &rule->destination) != 0)
        return nf_line_fail(nf, line, "destination '%s' is no prefix", words[4]);
    if (read_ports(words[3], rule->source_ports) != 0)
        return nf_line_fail(nf, line, "source ports '%s'; write any, N or N-M", words[3]);
    if (read_ports(words[5], rule->destination_ports) != 0)
        return nf_line_fail(nf, line, "destination ports '%s'; write any, N or N-M", words[5]);
    if (rule->source.version && rule->destination.version &&
        rule->source.version != rule->destination.version)
        return nf_line_fail(nf, line, "source and destination are of two IP versions");
    if (asks_for_ports(rule) && !has_ports(rule))
        return nf_line_fail(nf, line, "protocol '%s' has no ports; write any for both", words[1]);
    rule->version = rule->source.version | rule->destination.version;
    file->count++;
    return 0;
}

/* --- the tables ----------------------------------------------------------------------------- */

static void set_field(struct rte_acl_field *field, uint32_t value, uint32_t mask_or_range)
{
    field->value.u32 = value;
    field->mask_range.u32 = mask_or_range;
}

static void set_address(struct rte_acl_field *fields, const struct nf_prefix *prefix, int words)
{
    for (int word = 0; word < words; word++) {
        int bits = (int)prefix->length - 32 * word;
        uint32_t value;
        memcpy(&value, prefix->address + 4 * word, sizeof(value));
        set_field(&fields[word], ntohl(value), (uint32_t)(bits < 0 ? 0 : bits > 32 ? 32 : bits));
    }
}

static void set_ports(struct rte_acl_field *field, const uint16_t ports[2])
{
    field->value.u16 = ports[0];
    field->mask_range.u16 = ports[1];
}

/* Writes members alone: the zeros between them are part of what names the shared table. */
static void translate(const struct rule *rule, uint32_t index, int version, bool later,
                      struct acl_rule *acl)
{
    static const uint16_t any[2] = {0, UINT16_MAX};
    bool v4 = version == 4;
    acl->data.category_mask = 1;
    acl->data.priority = (int32_t)(RTE_ACL_MAX_PRIORITY - index);
    acl->data.userdata = index + 1;
    acl->field[0].value.u8 = rule->protocol;
    acl->field[0].mask_range.u8 = rule->any_protocol ? 0 : 0xFF;
    set_address(&acl->field[v4 ? SOURCE4 : SOURCE6], &rule->source, v4 ? 1 : 4);
    set_address(&acl->field[v4 ? DESTINATION4 : DESTINATION6], &rule->destination, v4 ? 1 : 4);
    set_ports(&acl->field[v4 ? SOURCE_PORT4 : SOURCE_PORT6], later ? any : rule->source_ports);
    set_ports(&acl->field[v4 ? DESTINATION_PORT4 : DESTINATION_PORT6],
              later ? any : rule->destination_ports);
    set_field(&acl->field[v4 ? LATER4 : LATER6], later, UINT32_MAX);
}

/* Fills *count rules of one IP version; a line makes one for packets and mostly one for fragments.
 */
static struct acl_rule *translate_all(const struct rule_file *file, int version, uint32_t *count)
{
    struct acl_rule *rules = calloc(2 * (size_t)file->count + 1, sizeof(*rules));
    *count = 0;
    for (uint32_t i = 0; rules && i < file->count; i++) {
        const struct rule *rule = &file->rules[i];
        if (rule->version && rule->version != version)
            continue;
        translate(rule, i, version, false, &rules[(*count)++]);
        if (rule->allow || !asks_for_ports(rule))
            translate(rule, i, version, true, &rules[(*count)++]);
    }
    return rules;
}

static struct rte_acl_ctx *build(struct flexnfv_nf *nf, const char *name, int version,
                                 const struct acl_rule *rules, uint32_t count)
{
    const struct rte_acl_field_def *fields = version == 4 ? fields4 : fields6;
    int field_count = version == 4 ? FIELDS4 : FIELDS6;
    struct rte_acl_param param = {.name = name,
                                  .socket_id = SOCKET_ID_ANY,
                                  .rule_size = RTE_ACL_RULE_SZ(FIELDS6),
                                  .max_rule_num = count};
    struct rte_acl_config config = {.num_categories = 1, .num_fields = (uint32_t)field_count};
    memcpy(config.defs, fields, sizeof(*fields) * (size_t)field_count);
    struct rte_acl_ctx *acl = rte_acl_create(&param);
    if (!acl || rte_acl_add_rules(acl, (const struct rte_acl_rule *)rules, count) != 0 ||
        rte_acl_build(acl, &config) != 0 || nf_table_set_ready(nf, name) != 0) {
        rte_acl_free(acl);
        flexnfv_fail(nf, "no room in the manager's memory for %u IPv%d rules", count, version);
        return NULL;
    }
    return acl;
}

/* The shared table of one IP version, found or built; *acl stays NULL if no rule is of it. */
static int open_table(struct flexnfv_nf *nf, const struct rule_file *file, int version,
                      struct rte_acl_ctx **acl)
{
    char name[NF_TABLE_NAME];
    uint32_t count;
    struct acl_rule *rules = translate_all(file, version, &count);
    if (!rules)
        return flexnfv_fail(nf, "out of memory");
    nf_table_name(name, version == 4 ? "firewall4" : "firewall6", rules, count * sizeof(*rules));
    *acl = count ? rte_acl_find_existing(name) : NULL;
    if (*acl && !nf_table_is_ready(name)) { /* whoever built it died in the middle */
        rte_acl_free(*acl);
        *acl = NULL;
    }
    if (count && !*acl)
        *acl = build(nf, name, version, rules, count);
    free(rules);
    return count && !*acl ? -1 : 0;
}

/* --- start and end -------------------------------------------------------------------------- */

static void release(struct firewall *firewall)
{
    free(firewall->file.rules);
    free(firewall->hits);
    free(firewall);
}

static int load(struct flexnfv_nf *nf, struct firewall *firewall, const char *path)
{
    struct rule_file *file = &firewall->file;
    file->default_allow = -1;
    file->rules = calloc(RULES_MAX, sizeof(*file->rules));
    firewall->hits = calloc(RULES_MAX + 1, sizeof(*firewall->hits));
    if (!file->rules || !firewall->hits)
        return flexnfv_fail(nf, "out of memory");
    if (nf_lines_read(nf, path, take_line, file) != 0)
        return -1;
    if (file->default_allow < 0)
        return flexnfv_fail(nf, "%s: says no default; add 'default allow' or 'default deny'", path);
    int lock = nf_table_lock(nf, path);
    if (lock < 0)
        return -1;
    int result = open_table(nf, file, 4, &firewall->acl4);
    if (result == 0)
        result = open_table(nf, file, 6, &firewall->acl6);
    nf_table_unlock(lock);
    return result;
}

static int init(struct flexnfv_nf *nf, const char *args)
{
    struct nf_option options[] = {{.name = "rules"}};
    if (nf_options_read(nf, args, options, 1) != 0)
        return -1;
    if (!options[0].value)
        return flexnfv_fail(nf, "needs rules=FILE");
    struct firewall *firewall = calloc(1, sizeof(*firewall));
    if (!firewall)
        return flexnfv_fail(nf, "out of memory");
    if (load(nf, firewall, options[0].value) != 0) {
        release(firewall);
        return -1;
    }
    nf->state = firewall;
    return 0;
}

/* --- packets -------------------------------------------------------------------------------- */

/* What of a packet the rules are held against. */
struct view {
    uint8_t protocol;
    uint16_t source_port, destination_port; /* network order */
    bool later;
};

/* False for a fragment too short to be judged (RFC 1858). */
static bool view_fragment(const uint8_t *data, const struct fx_flow *flow, struct view *view)
{
    uint32_t ports = flow->l4;
    uint16_t offset;
    if (flow->ip_version == 4) {
        memcpy(&offset, data + flow->l3 + 6, sizeof(offset));
        view->later = (ntohs(offset) & 0x1FFF) != 0;
    } else {
        memcpy(&offset, data + flow->l4 + 2, sizeof(offset));
        view->later = (ntohs(offset) & 0xFFF8) != 0;
        view->protocol = data[flow->l4];
        ports += 8;
    }
    struct rule only_protocol = {.protocol = view->protocol};
    if (view->later || !has_ports(&only_protocol))
        return true;
    if (flow->end < ports + 8u)
        return false;
    memcpy(&view->source_port, data + ports, 2);
    memcpy(&view->destination_port, data + ports + 2, 2);
    return true;
}

/* False if the packet is not sound enough to be judged. */
static bool view_packet(const uint8_t *data, const struct fx_flow *flow, struct view *view)
{
    *view = (struct view){.protocol = flow->proto,
                          .source_port = htons(flow->sport),
                          .destination_port = htons(flow->dport)};
    if (flow->class == FX_CLASS_FRAGMENT)
        return view_fragment(data, flow, view);
    return !fx_class_is_unsound(flow->class);
}

static void fill_key4(struct key4 *key, const struct fx_flow *flow, const struct view *view)
{
    key->protocol = view->protocol;
    memcpy(&key->source, flow->src, 4);
    memcpy(&key->destination, flow->dst, 4);
    key->source_port = view->source_port;
    key->destination_port = view->destination_port;
    key->later = htonl(view->later);
}

static void fill_key6(struct key6 *key, const struct fx_flow *flow, const struct view *view)
{
    key->protocol = view->protocol;
    memcpy(key->source, flow->src, 16);
    memcpy(key->destination, flow->dst, 16);
    key->source_port = view->source_port;
    key->destination_port = view->destination_port;
    key->later = htonl(view->later);
}

static void judge(struct firewall *firewall, const struct rte_acl_ctx *acl, const uint8_t **keys,
                  struct rte_mbuf **packets, uint32_t count)
{
    uint32_t results[FX_BURST] = {0};
    if (acl && count)
        rte_acl_classify(acl, keys, results, count, 1);
    for (uint32_t i = 0; i < count; i++) {
        const struct rule_file *file = &firewall->file;
        uint32_t rule = results[i] ? results[i] - 1 : file->count;
        firewall->hits[rule]++;
        if (!(results[i] ? file->rules[rule].allow : file->default_allow))
            flexnfv_drop(packets[i]);
    }
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    struct firewall *firewall = nf->state;
    const uint8_t *keys4[FX_BURST], *keys6[FX_BURST];
    struct rte_mbuf *packets4[FX_BURST], *packets6[FX_BURST];
    uint32_t count4 = 0, count6 = 0;
    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *data = rte_pktmbuf_mtod(packets[i], const uint8_t *);
        struct fx_flow flow;
        struct view view;
        fx_parse(data, packets[i]->data_len, &flow);
        if (!view_packet(data, &flow, &view)) {
            firewall->unsound++;
            flexnfv_drop(packets[i]);
        } else if (flow.ip_version == 4) {
            fill_key4(&firewall->keys4[count4], &flow, &view);
            keys4[count4] = (const uint8_t *)&firewall->keys4[count4];
            packets4[count4++] = packets[i];
        } else if (flow.ip_version == 6) {
            fill_key6(&firewall->keys6[count6], &flow, &view);
            keys6[count6] = (const uint8_t *)&firewall->keys6[count6];
            packets6[count6++] = packets[i];
        } /* ARP and other protocols pass: the rules speak of IP alone */
    }
    judge(firewall, firewall->acl4, keys4, packets4, count4);
    judge(firewall, firewall->acl6, keys6, packets6, count6);
}

static void teardown(struct flexnfv_nf *nf)
{
    struct firewall *firewall = nf->state;
    const struct rule_file *file = &firewall->file;
    for (uint32_t i = 0; i < file->count; i++)
        if (firewall->hits[i])
            printf("%s.%u: rule %u (%s): %" PRIu64 " packets\n", nf->type_name, nf->info.slot,
                   i + 1, file->rules[i].allow ? "allow" : "deny", firewall->hits[i]);
    printf("%s.%u: default (%s): %" PRIu64 " packets; unsound and dropped: %" PRIu64 "\n",
           nf->type_name, nf->info.slot, file->default_allow ? "allow" : "deny",
           firewall->hits[file->count], firewall->unsound);
    release(firewall);
}

static const struct flexnfv_nf_ops ops = {
    .name = "firewall",
    .summary = "passes or drops IP packets by rules on protocol, addresses and ports",
    .args = "rules=FILE",
    .init = init,
    .process = process,
    .teardown = teardown,
};
FLEXNFV_NF(ops)
