#include "manager/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 20, STANDARD_MBUF_BYTES = 2048 };

static const char *const mapping_names[] = {"algorithm1", "rendezvous", "even"};

/* --- words ---------------------------------------------------------------------------------- */

/* Cuts the next word off *rest; NULL at the end. */
static char *next_word(char **rest)
{
    while (isspace((unsigned char)**rest))
        (*rest)++;
    if (!**rest)
        return NULL;
    char *word = *rest;
    while (**rest && !isspace((unsigned char)**rest))
        (*rest)++;
    if (**rest)
        *(*rest)++ = '\0';
    return word;
}

static int copy_text(char *to, size_t size, const char *key, const char *value,
                     struct fx_error *error)
{
    if (strlen(value) >= size)
        return fx_fail(error, "%s: at most %zu characters", key, size - 1);
    strcpy(to, value);
    return 0;
}

static int copy_name(char *to, const char *key, const char *value, struct fx_error *error)
{
    if (!*value || strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "_.-") != strlen(value))
        return fx_fail(error, "%s: '%.40s' is no name: letters, digits, _ . -", key, value);
    return copy_text(to, FX_NAME_LENGTH, key, value, error);
}

static int number(const char *key, const char *value, double low, double high, double *result,
                  struct fx_error *error)
{
    char *end;
    errno = 0;
    *result = strtod(value, &end);
    if (end == value || *end || errno || !isfinite(*result) || *result < low || *result > high)
        return fx_fail(error, "%s: '%.40s' is not a number from %g to %g", key, value, low, high);
    return 0;
}

static int whole(const char *key, const char *value, uint32_t low, uint32_t high, uint32_t *result,
                 struct fx_error *error)
{
    double read;
    if (number(key, value, low, high, &read, error) != 0)
        return -1;
    if (read != floor(read))
        return fx_fail(error, "%s: '%.40s' is not a whole number", key, value);
    *result = (uint32_t)read;
    return 0;
}

static int boolean(const char *key, const char *value, bool *result, struct fx_error *error)
{
    uint32_t read;
    if (whole(key, value, 0, 1, &read, error) != 0)
        return -1;
    *result = read;
    return 0;
}

static int choice(const char *key, const char *value, const char *const *names, uint32_t count,
                  uint32_t *result, struct fx_error *error)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(value, names[i]) == 0) {
            *result = i;
            return 0;
        }
    return fx_fail(error, "%s: '%.40s' is unknown", key, value);
}

/* Splits KEY=VALUE in place. */
static int split(char *word, char **value, struct fx_error *error)
{
    *value = strchr(word, '=');
    if (!*value)
        return fx_fail(error, "'%.40s' is not KEY=VALUE", word);
    *(*value)++ = '\0';
    return 0;
}

static int unknown(const char *key, struct fx_error *error)
{
    return fx_fail(error, "unknown key '%.40s'", key);
}

/* --- statements ----------------------------------------------------------------------------- */

static int set_one(struct fx_config *config, const char *key, const char *value,
                   struct fx_error *error)
{
    static const char *const entry_names[] = {"open", "shed", "hold"};
    static const char *const modes[] = {"pipeline", "run_to_completion"};
    double read;
    uint32_t index = 0;
    if (strcmp(key, "core_budget") == 0)
        return whole(key, value, 1, 1024, &config->core_budget, error);
    if (strcmp(key, "park_timeout_s") == 0) {
        if (strcmp(value, "inf") == 0)
            return 0;
        return number(key, value, 1e-3, 1e9, &config->park_timeout_s, error);
    }
    if (strcmp(key, "interval_ms") == 0 || strcmp(key, "status_ms") == 0) {
        if (number(key, value, 1, 3600e3, &read, error) != 0)
            return -1;
        *(key[0] == 'i' ? &config->interval_ns : &config->status_ns) = (uint64_t)(read * 1e6);
        return 0;
    }
    if (strcmp(key, "scale") == 0)
        return number(key, value, 1e-6, 1000, &config->scale, error);
    if (strcmp(key, "spares") == 0)
        return whole(key, value, 0, FX_MAX_SPARES, &config->spares, error);
    if (strcmp(key, "entry") == 0) {
        if (choice(key, value, entry_names, 3, &index, error) != 0)
            return -1;
        config->entry = index;
        return 0;
    }
    if (strcmp(key, "mode") == 0) {
        if (choice(key, value, modes, 2, &index, error) != 0)
            return -1;
        config->replicas = index == 1;
        return 0;
    }
    if (strcmp(key, "law") == 0)
        return boolean(key, value, &config->law, error);
    if (strcmp(key, "install_flows") == 0)
        return boolean(key, value, &config->install_flows, error);
    if (strcmp(key, "busy_polling") == 0)
        return boolean(key, value, &config->busy_polling, error);
    if (strcmp(key, "mbufs") == 0)
        return whole(key, value, 1024, FX_MOST_MBUFS, &config->mbufs, error);
    if (strcmp(key, "mbuf_bytes") == 0)
        return whole(key, value, 128, 16384, &config->mbuf_bytes, error);
    if (strcmp(key, "rx_threads") == 0)
        return whole(key, value, 1, 4, &config->rx_threads, error);
    if (strcmp(key, "tx_threads") == 0)
        return whole(key, value, 0, 4, &config->tx_threads, error);
    return unknown(key, error);
}

static int parse_set(struct fx_config *config, char *rest, struct fx_error *error)
{
    char *word, *value;
    while ((word = next_word(&rest)))
        if (split(word, &value, error) != 0 || set_one(config, word, value, error) != 0)
            return -1;
    return 0;
}

static int type_key(struct fx_type_config *type, const char *key, const char *value,
                    struct fx_error *error)
{
    uint32_t index = 0;
    if (strcmp(key, "function") == 0)
        return copy_name(type->function, key, value, error);
    if (strcmp(key, "min") == 0)
        return whole(key, value, 0, FX_MAX_INSTANCES, &type->min_instances, error);
    if (strcmp(key, "max") == 0)
        return whole(key, value, 1, FX_MAX_INSTANCES, &type->max_instances, error);
    if (strcmp(key, "initial") == 0)
        return whole(key, value, 0, FX_MAX_INSTANCES, &type->initial_instances, error);
    if (strcmp(key, "cores") == 0)
        return whole(key, value, 1, 16, &type->cores, error);
    if (strcmp(key, "ring") == 0) {
        if (whole(key, value, 64, 1 << 20, &type->ring_size, error) != 0)
            return -1;
        return type->ring_size & (type->ring_size - 1)
                   ? fx_fail(error, "ring: %u is not a power of two", type->ring_size)
                   : 0;
    }
    if (strcmp(key, "mapping") == 0) {
        if (choice(key, value, mapping_names, 3, &index, error) != 0)
            return -1;
        type->mapping = index;
        return 0;
    }
    if (strcmp(key, "high") == 0)
        return number(key, value, 1e-9, 1e6, &type->high_load, error);
    if (strcmp(key, "low") == 0)
        return number(key, value, 0, 1e6, &type->low_load, error);
    if (strcmp(key, "queue") == 0)
        return number(key, value, 0, 1 << 20, &type->queue_threshold, error);
    if (strcmp(key, "pace") == 0)
        return number(key, value, 0, 1e9, &type->pace_pps, error);
    if (strcmp(key, "cost_ns") == 0)
        return number(key, value, 0, 1e9, &type->cost_ns, error);
    return unknown(key, error);
}

static int find_type(const struct fx_config *config, const char *name)
{
    for (uint32_t t = 0; t < config->types; t++)
        if (strcmp(config->type[t].name, name) == 0)
            return (int)t;
    return -1;
}

static int find_chain(const struct fx_config *config, const char *name)
{
    for (uint32_t c = 0; c < config->chains; c++)
        if (strcmp(config->chain[c].name, name) == 0)
            return (int)c;
    return -1;
}

static int check_type(const struct fx_type_config *type, struct fx_error *error)
{
    if (!*type->function)
        return fx_fail(error, "type %s: function is missing", type->name);
    if (type->min_instances > type->max_instances || type->initial_instances > type->max_instances)
        return fx_fail(error, "type %s: min and initial may not be above max %u", type->name,
                       type->max_instances);
    if (type->low_load > type->high_load)
        return fx_fail(error, "type %s: low is above high", type->name);
    return 0;
}

static int parse_type(struct fx_config *config, char *rest, struct fx_error *error)
{
    if (config->types == FX_MAX_TYPES)
        return fx_fail(error, "more than %d types", FX_MAX_TYPES);
    struct fx_type_config type = {.min_instances = 1,
                                  .max_instances = 8,
                                  .initial_instances = 1,
                                  .cores = 1,
                                  .ring_size = 4096,
                                  .high_load = 0.682,
                                  .low_load = 0.341};
    char *name = next_word(&rest), *word, *value;
    if (!name)
        return fx_fail(error, "type: the name is missing");
    if (copy_name(type.name, "type", name, error) != 0)
        return -1;
    if (find_type(config, name) >= 0)
        return fx_fail(error, "type %s is there already", name);
    while ((word = next_word(&rest))) {
        bool is_args = strncmp(word, "args=", 5) == 0;
        if (is_args) { /* the rest of the line, spaces and all */
            if (rest > word + strlen(word) && *rest)
                word[strlen(word)] = ' ';
            if (copy_text(type.args, sizeof(type.args), "args", word + 5, error) != 0)
                return -1;
            break;
        }
        if (split(word, &value, error) != 0 || type_key(&type, word, value, error) != 0)
            return -1;
    }
    if (check_type(&type, error) != 0)
        return -1;
    config->type[config->types++] = type;
    return 0;
}

static int parse_chain(struct fx_config *config, char *rest, struct fx_error *error)
{
    if (config->chains == FX_MAX_CHAINS)
        return fx_fail(error, "more than %d chains", FX_MAX_CHAINS);
    struct fx_chain_config chain = {0};
    char *name = next_word(&rest), *word = next_word(&rest), *value, *more;
    if (!name || !word || next_word(&rest))
        return fx_fail(error, "chain: write `chain NAME types=A,B,C`");
    if (copy_name(chain.name, "chain", name, error) != 0)
        return -1;
    if (find_chain(config, name) >= 0)
        return fx_fail(error, "chain %s is there already", name);
    if (split(word, &value, error) != 0)
        return -1;
    if (strcmp(word, "types") != 0)
        return unknown(word, error);
    for (char *type = strtok_r(value, ",", &more); type; type = strtok_r(NULL, ",", &more)) {
        int index = find_type(config, type);
        if (index < 0)
            return fx_fail(error, "chain %s: unknown type '%.40s'", name, type);
        if (chain.length == FX_MAX_CHAIN_LENGTH)
            return fx_fail(error, "chain %s: more than %d types", name, FX_MAX_CHAIN_LENGTH);
        for (uint32_t hop = 0; hop < chain.length; hop++)
            if (chain.type[hop] == index)
                return fx_fail(error, "chain %s: type '%.40s' appears twice", name, type);
        chain.type[chain.length++] = (uint8_t)index;
    }
    if (chain.length == 0)
        return fx_fail(error, "chain %s: no types", name);
    chain.functions = chain.length;
    memcpy(chain.function, chain.type, sizeof(chain.function));
    config->chain[config->chains++] = chain;
    return 0;
}

static int parse_port(struct fx_config *config, char *rest, struct fx_error *error)
{
    if (config->ports == FX_MAX_PORTS)
        return fx_fail(error, "more than %d ports", FX_MAX_PORTS);
    struct fx_port_config port = {.peer = -1};
    char *devargs = next_word(&rest), *word = next_word(&rest), *value;
    uint32_t peer;
    if (!devargs)
        return fx_fail(error, "port: the device is missing");
    if (copy_text(port.devargs, sizeof(port.devargs), "port", devargs, error) != 0)
        return -1;
    if (word) {
        if (split(word, &value, error) != 0)
            return -1;
        if (strcmp(word, "peer") != 0)
            return unknown(word, error);
        if (whole("peer", value, 0, FX_MAX_PORTS - 1, &peer, error) != 0)
            return -1;
        port.peer = (int)peer;
    }
    config->port[config->ports++] = port;
    return 0;
}

/* --- rules ---------------------------------------------------------------------------------- */

static int parse_prefix(const char *key, char *value, struct fx_prefix *prefix,
                        struct fx_error *error)
{
    char *slash = strchr(value, '/');
    uint32_t length;
    if (slash)
        *slash++ = '\0';
    prefix->version = strchr(value, ':') ? 6 : 4;
    uint32_t most = prefix->version == 6 ? 128 : 32;
    if (inet_pton(prefix->version == 6 ? AF_INET6 : AF_INET, value, prefix->address) != 1)
        return fx_fail(error, "%s: '%.40s' is no IP address", key, value);
    length = most;
    if (slash && whole(key, slash, 0, most, &length, error) != 0)
        return -1;
    prefix->length = (uint8_t)length;
    return 0;
}

static int parse_range(const char *key, char *value, uint16_t *range, struct fx_error *error)
{
    char *dash = strchr(value, '-');
    uint32_t low, high;
    if (dash)
        *dash++ = '\0';
    if (whole(key, value, 0, 65535, &low, error) != 0 ||
        whole(key, dash ? dash : value, 0, 65535, &high, error) != 0)
        return -1;
    if (low > high)
        return fx_fail(error, "%s: %u-%u is empty", key, low, high);
    range[0] = (uint16_t)low;
    range[1] = (uint16_t)high;
    return 0;
}

static int rule_key(struct fx_rule *rule, const char *key, char *value, struct fx_error *error)
{
    uint32_t read;
    if (strcmp(key, "src") == 0 || strcmp(key, "dst") == 0)
        return parse_prefix(key, value, key[0] == 's' ? &rule->src : &rule->dst, error);
    if (strcmp(key, "sport") == 0 || strcmp(key, "dport") == 0)
        return parse_range(key, value, key[0] == 's' ? rule->sport : rule->dport, error);
    if (strcmp(key, "port") == 0 || strcmp(key, "proto") == 0) {
        bool port = key[1] == 'o';
        if (whole(key, value, 0, port ? FX_MAX_PORTS - 1 : 255, &read, error) != 0)
            return -1;
        *(port ? &rule->port : &rule->proto) = (int16_t)read;
        return 0;
    }
    return unknown(key, error);
}

int fx_rule_parse(const struct fx_config *config, char *text, struct fx_rule *rule,
                  struct fx_error *error)
{
    char *name = next_word(&text), *word, *value;
    int chain = name ? find_chain(config, name) : -1;
    if (chain < 0)
        return fx_fail(error, "rule: unknown chain '%.40s'", name ? name : "");
    *rule = (struct fx_rule){
        .chain = (uint8_t)chain, .port = -1, .proto = -1, .sport = {0, 65535}, .dport = {0, 65535}};
    while ((word = next_word(&text)))
        if (split(word, &value, error) != 0 || rule_key(rule, word, value, error) != 0)
            return -1;
    return 0;
}

static int parse_rule(struct fx_config *config, char *rest, struct fx_error *error)
{
    if (config->rules.count == FX_MAX_RULES)
        return fx_fail(error, "more than %d rules", FX_MAX_RULES);
    if (fx_rule_parse(config, rest, &config->rules.rule[config->rules.count], error) != 0)
        return -1;
    config->rules.count++;
    return 0;
}

static bool in_prefix(const struct fx_prefix *prefix, const uint8_t *address, uint8_t version)
{
    if (prefix->version == 0)
        return true;
    if (prefix->version != version)
        return false;
    uint32_t whole_bytes = prefix->length / 8, bits = prefix->length % 8;
    uint8_t mask = (uint8_t)(0xff00 >> bits);
    return memcmp(prefix->address, address, whole_bytes) == 0 &&
           (bits == 0 || ((prefix->address[whole_bytes] ^ address[whole_bytes]) & mask) == 0);
}

uint8_t fx_rules_match(const struct fx_rules *rules, const struct fx_flow *flow, uint16_t port)
{
    for (uint32_t i = 0; i < rules->count; i++) {
        const struct fx_rule *rule = &rules->rule[i];
        if ((rule->port < 0 || rule->port == port) &&
            (rule->proto < 0 || (flow->ip_version && rule->proto == flow->proto)) &&
            in_prefix(&rule->src, flow->src, flow->ip_version) &&
            in_prefix(&rule->dst, flow->dst, flow->ip_version) && flow->sport >= rule->sport[0] &&
            flow->sport <= rule->sport[1] && flow->dport >= rule->dport[0] &&
            flow->dport <= rule->dport[1])
            return rule->chain;
    }
    return 0;
}

bool fx_mapping_allowed(const struct fx_type_config *type, enum fx_mapping_kind mapping)
{
    return !type->stateful || type->max_instances <= 1 || mapping == FX_RENDEZVOUS;
}

/* --- the whole ------------------------------------------------------------------------------ */

/* The instances of type 0 run the functions of all types; the others have none of their own. */
static void make_replicas(struct fx_config *config)
{
    for (uint32_t t = 1; t < config->types; t++) {
        struct fx_type_config *type = &config->type[t];
        type->min_instances = type->max_instances = type->initial_instances = 0;
    }
    for (uint32_t c = 0; c < config->chains; c++) {
        config->chain[c].length = 1;
        config->chain[c].type[0] = 0;
    }
}

static int check_whole(struct fx_config *config, struct fx_error *error)
{
    uint32_t instances = 0, cores = 0;
    if (config->types == 0 || config->chains == 0 || config->ports == 0)
        return fx_fail(error, "at least one type, one chain and one port are needed");
    if (config->replicas)
        make_replicas(config);
    for (uint32_t t = 0; t < config->types; t++) {
        instances += config->type[t].max_instances;
        cores += config->type[t].initial_instances * config->type[t].cores;
    }
    if (instances > FX_MAX_INSTANCE_SLOTS)
        return fx_fail(error, "the types' max add up to %u, the most is %d", instances,
                       FX_MAX_INSTANCE_SLOTS);
    if (config->core_budget == 0)
        config->core_budget = 1024;
    if (cores > config->core_budget)
        return fx_fail(error, "core_budget: %u cannot hold the %u cores of the initial instances",
                       config->core_budget, cores);
    for (uint32_t p = 0; p < config->ports; p++) {
        struct fx_port_config *port = &config->port[p];
        if (port->peer < 0) /* 0 and 1 are peers, 2 and 3 ...; a last odd one is its own */
            port->peer = (p ^ 1) < config->ports ? (int)(p ^ 1) : (int)p;
        if (port->peer >= (int)config->ports)
            return fx_fail(error, "port %u: there is no peer %d", p, port->peer);
    }
    for (uint32_t i = 0; i < config->rules.count; i++)
        if (config->rules.rule[i].port >= (int)config->ports)
            return fx_fail(error, "rule %u: there is no port %d", i, config->rules.rule[i].port);
    return 0;
}

static int parse_line(struct fx_config *config, char *line, struct fx_error *error)
{
    char *word = next_word(&line);
    if (!word || *word == '#')
        return 0;
    if (strcmp(word, "set") == 0)
        return parse_set(config, line, error);
    if (strcmp(word, "type") == 0)
        return parse_type(config, line, error);
    if (strcmp(word, "chain") == 0)
        return parse_chain(config, line, error);
    if (strcmp(word, "port") == 0)
        return parse_port(config, line, error);
    if (strcmp(word, "rule") == 0)
        return parse_rule(config, line, error);
    return fx_fail(error, "unknown statement '%.40s'", word);
}

int fx_config_parse(char *text, const char *where, struct fx_config *config, struct fx_error *error)
{
    struct fx_error inner = {0};
    char *more;
    int number_of_line = 0;
    *config = (struct fx_config){
        .park_timeout_s = INFINITY,
        .interval_ns = 1000000000,
        .status_ns = 100000000,
        .scale = 1.0,
        .law = true,
        .install_flows = true,
        .mbuf_bytes = STANDARD_MBUF_BYTES,
        .rx_threads = 1,
    };
    for (char *line = text; line; line = more) {
        more = strchr(line, '\n');
        if (more)
            *more++ = '\0';
        number_of_line++;
        if (parse_line(config, line, &inner) != 0)
            return fx_fail(error, "%.60s:%d: %.120s", where, number_of_line, inner.text);
    }
    if (check_whole(config, &inner) != 0)
        return fx_fail(error, "%.60s: %.120s", where, inner.text);
    return 0;
}

int fx_config_read(const char *path, struct fx_config *config, struct fx_error *error)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return fx_fail(error, "%.80s: %s", path, strerror(errno));
    char *text = malloc(FILE_BYTES);
    size_t length = text ? fread(text, 1, FILE_BYTES, file) : FILE_BYTES;
    fclose(file);
    int result;
    if (length == FILE_BYTES) {
        result = fx_fail(error, "%.80s: larger than %d bytes", path, FILE_BYTES - 1);
    } else {
        text[length] = '\0';
        result = strlen(text) == length ? fx_config_parse(text, path, config, error)
                                        : fx_fail(error, "%.80s: holds a zero byte", path);
    }
    free(text);
    return result;
}
