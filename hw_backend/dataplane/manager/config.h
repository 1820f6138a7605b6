/*
 * The manager's configuration: one statement a line, `#` starts a comment.
 *
 *     set KEY=VALUE ...
 *     type NAME function=F [max=8] [min=1] [initial=1] [ring=4096] [cores=1] [mapping=algorithm1]
 *          [high=ERLANGS] [low=ERLANGS] [queue=PACKETS] [pace=PPS] [cost_ns=NS] [args=REST OF LINE]
 *     chain NAME types=A,B,C                        the first is the default chain
 *     port DEVARGS [peer=INDEX]                     net_null0, net_memif0,role=client,... in order
 *     rule CHAIN [port=N] [proto=N] [src=PREFIX] [dst=PREFIX] [sport=A-B] [dport=A-B]
 *
 * (one line each; broken here to fit). README.md lists every key of `set`. After
 * `set mode=run_to_completion` instances of the first type run the functions of all types.
 */
#ifndef FLEXNFV_CONFIG_H
#define FLEXNFV_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mapping.h"
#include "common/parse.h"
#include "manager/log.h"
#include "shared/abi.h"

struct fx_type_config {
    char name[FX_NAME_LENGTH];
    char function[FX_NAME_LENGTH];
    char args[FX_ARGS_LENGTH];
    uint32_t min_instances, max_instances, initial_instances;
    uint32_t cores;
    uint32_t ring_size;
    enum fx_mapping_kind mapping;
    double high_load, low_load; /* erlangs */
    double queue_threshold;     /* packets; 0: the law's share of the ring */
    double pace_pps;            /* 0: not paced */
    double cost_ns;             /* nominal processing time; 0: unknown */
    bool stateful;              /* filled by the manager; of a replica: any of its functions */
};

struct fx_chain_config {
    char name[FX_NAME_LENGTH];
    uint32_t length; /* types whose instances a packet is sent to: with replicas only type 0 */
    uint8_t type[FX_MAX_CHAIN_LENGTH];
    uint32_t functions; /* types whose functions it passes: all that the statement names */
    uint8_t function[FX_MAX_CHAIN_LENGTH];
};

struct fx_port_config {
    char devargs[FX_ARGS_LENGTH];
    int peer; /* where packets that come from here leave; -1: not said */
};

struct fx_prefix {
    uint8_t version; /* 4, 6; 0: any */
    uint8_t length;
    uint8_t address[16];
};

struct fx_rule {
    uint8_t chain;
    int16_t port;  /* -1: any */
    int16_t proto; /* -1: any */
    struct fx_prefix src, dst;
    uint16_t sport[2], dport[2]; /* inclusive ranges */
};

struct fx_rules {
    uint32_t count;
    struct fx_rule rule[FX_MAX_RULES];
};

#define FX_MOST_MBUFS (1u << 18) /* of one pool; every NF maps all of it at its start */

struct fx_config {
    uint32_t types, chains, ports;
    struct fx_type_config type[FX_MAX_TYPES];
    struct fx_chain_config chain[FX_MAX_CHAINS];
    struct fx_port_config port[FX_MAX_PORTS];
    struct fx_rules rules;
    uint32_t core_budget;
    double park_timeout_s; /* INFINITY: never */
    uint64_t interval_ns;  /* of the built-in law, and of the heartbeat's deadline */
    uint64_t status_ns;
    double scale;
    uint32_t spares;
    enum fx_entry entry;
    bool replicas; /* mode=run_to_completion: instances of type 0 run all functions of a chain */
    bool law;
    bool install_flows; /* a flow-table miss installs an entry */
    bool busy_polling;  /* nobody sleeps: for machines with a core for everyone */
    uint32_t mbufs;     /* 0: from the rings' sizes */
    uint32_t mbuf_bytes;
    uint32_t rx_threads, tx_threads; /* tx_threads 0: one thread does both */
};

/* Reads and validates a file; -1 with the reason in *error. */
int fx_config_read(const char *path, struct fx_config *config, struct fx_error *error);

/* Reads and validates a text; `where` stands before the line number in errors. */
int fx_config_parse(char *text, const char *where, struct fx_config *config,
                    struct fx_error *error);

/* One rule, written as behind the word `rule`. */
int fx_rule_parse(const struct fx_config *config, char *text, struct fx_rule *rule,
                  struct fx_error *error);

/* Whether a stateful type may have this mapping (see flexnfv/chain.py). */
bool fx_mapping_allowed(const struct fx_type_config *type, enum fx_mapping_kind mapping);

/* The chain of the first rule that matches, or the default chain 0. */
uint8_t fx_rules_match(const struct fx_rules *rules, const struct fx_flow *flow, uint16_t port);

#endif
