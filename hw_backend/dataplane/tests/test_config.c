/* The manager's configuration: what is taken, and what is refused with which words. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "manager/config.h"

#define TYPES "type a function=monitor\ntype b function=nat max=1\n"
#define WHOLE TYPES "chain c types=a,b\nport net_null0\n"

static struct fx_config config;
static struct fx_error error;

static int parse(const char *text)
{
    char *copy = strdup(text);
    int result = fx_config_parse(copy, "test", &config, &error);
    free(copy);
    return result;
}

static void takes_what_the_readme_says(void)
{
    CHECK(parse("# comment\n\nset core_budget=24 interval_ms=500 status_ms=20 scale=0.05 spares=2\n"
                "set entry=shed law=0 park_timeout_s=3.5\n"
                "type NF1 function=monitor max=8 min=2 initial=3 ring=64 cores=2 mapping=even "
                "high=0.278 low=0.139 queue=7 pace=221500 cost_ns=92 args=x=1  y = 2\n"
                "type NF2 function=forwarder args=\n"
                "chain one types=NF1,NF2\nchain two types=NF2\n"
                "port net_memif0,role=server,id=0 peer=1\nport net_null1 peer=0\nport net_null2\n"
                "rule two port=1 proto=17 src=10.0.0.0/8 dst=2001:db8::/33 sport=5 dport=1-9\n") ==
          0);
    const struct fx_type_config *type = &config.type[0];
    CHECK(config.types == 2 && config.chains == 2 && config.ports == 3 && config.rules.count == 1);
    CHECK(config.core_budget == 24 && config.interval_ns == 500000000 && config.spares == 2);
    CHECK(config.status_ns == 20000000 && config.scale == 0.05 && !config.law);
    CHECK(config.entry == FX_ENTRY_SHED && config.park_timeout_s == 3.5);
    CHECK(type->max_instances == 8 && type->min_instances == 2 && type->initial_instances == 3);
    CHECK(type->ring_size == 64 && type->cores == 2 && type->mapping == FX_EVEN);
    CHECK(type->high_load == 0.278 && type->low_load == 0.139 && type->queue_threshold == 7);
    CHECK(type->pace_pps == 221500 && type->cost_ns == 92);
    CHECK(strcmp(type->args, "x=1  y = 2") == 0);
    CHECK(strcmp(config.type[1].args, "") == 0);
    CHECK(config.port[0].peer == 1 && config.port[1].peer == 0 && config.port[2].peer == 2);
    CHECK(strcmp(config.port[0].devargs, "net_memif0,role=server,id=0") == 0);
    const struct fx_rule *rule = &config.rules.rule[0];
    CHECK(rule->chain == 1 && rule->port == 1 && rule->proto == 17 && rule->src.length == 8);
    CHECK(rule->dst.version == 6 && rule->dst.length == 33 && rule->dport[1] == 9);
}

static void refuses(const char *text, const char *reason)
{
    if (parse(text) == 0 || !strstr(error.text, reason)) {
        fprintf(stderr, "%s\n gave '%s', not '%s'\n", text, error.text, reason);
        CHECK(0);
    }
}

static void refuses_what_makes_no_sense(void)
{
    refuses("", "at least one type");
    refuses(WHOLE "set core_budget\n", "test:5: 'core_budget' is not KEY=VALUE");
    refuses(WHOLE "set colour=1\n", "unknown key");
    refuses(WHOLE "set scale=1e999\n", "scale");
    refuses(WHOLE "set spares=1.5\n", "whole number");
    refuses(WHOLE "set entry=ajar\n", "'ajar' is unknown");
    refuses(WHOLE "set mode=backpressure\n", "'backpressure' is unknown");
    refuses(WHOLE "set core_budget=1\n", "cannot hold the 2 cores");
    refuses(WHOLE "type a function=x\n", "there already");
    refuses(WHOLE "type x\n", "function is missing");
    refuses(WHOLE "type x function=y min=5 max=4\n", "not be above max");
    refuses(WHOLE "type x function=y ring=63\n", "63");
    refuses(WHOLE "type x function=y low=2 high=1\n", "low is above high");
    refuses(WHOLE "type a/b function=y\n", "is no name");
    refuses(WHOLE "type xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx function=y\n", "at most 31");
    refuses(WHOLE "chain c types=a\n", "there already");
    refuses(WHOLE "chain d types=a,a\n", "appears twice");
    refuses(WHOLE "chain d types=\n", "no types");
    refuses(WHOLE "chain d\n", "write");
    refuses(WHOLE "port net_null1 peer=7\n", "no peer 7");
    refuses(WHOLE "rule c src=10.0.0.0/33\n", "33");
    refuses(WHOLE "rule c src=ten\n", "no IP address");
    refuses(WHOLE "rule c dport=9-1\n", "empty");
    refuses(WHOLE "rule c port=5\n", "no port 5");
    refuses("type big function=x max=64\ntype big2 function=x max=64\ntype big3 function=x\n"
            "chain c types=big\nport net_null0\n",
            "add up to 136");
}

static void run_to_completion_leaves_instances_to_the_first_type(void)
{
    CHECK(parse(TYPES "type c function=monitor max=64 initial=40\ntype d function=x max=64\n"
                      "chain one types=a,c\nchain two types=b,a\nport net_null0\n"
                      "set mode=run_to_completion core_budget=1\n") == 0);
    CHECK(config.replicas && config.type[0].max_instances == 8);
    for (uint32_t t = 1; t < config.types; t++)
        CHECK(config.type[t].max_instances == 0 && config.type[t].initial_instances == 0 &&
              config.type[t].min_instances == 0);
    for (uint32_t c = 0; c < config.chains; c++)
        CHECK(config.chain[c].length == 1 && config.chain[c].type[0] == 0);
    CHECK(config.chain[0].functions == 2 && config.chain[0].function[0] == 0);
    CHECK(config.chain[0].function[1] == 2);
    CHECK(config.chain[1].functions == 2 && config.chain[1].function[0] == 1);
    CHECK(config.chain[1].function[1] == 0);
    CHECK(parse(WHOLE "set mode=pipeline\n") == 0 && !config.replicas);
    CHECK(config.chain[0].length == 2 && config.chain[0].functions == 2);
    CHECK(config.chain[0].function[1] == 1 && config.type[1].max_instances == 1);
}

static void any_bytes_are_read_without_a_crash(void)
{
    static const char words[][24] = {
        "set ", "type ", "chain ", "port ",  "rule ", "a ", "args=", "max=", "=",   ",",    "\n",
        " ",    "\t",    "#",      "types=", "src=",  "1",  "-1",    "/",    "nan", "peer="};
    unsigned int seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[512] = TYPES;
        for (int i = 0; i < 14; i++)
            strcat(text, words[(seed = seed * 1103515245u + 12345u) / 65536u % 21u]);
        parse(text);
    }
}

static void rules_match_what_they_say(void)
{
    CHECK(parse(WHOLE "chain d types=a\nchain e types=b\n"
                      "rule d proto=6 dst=10.1.0.0/20 dport=80-90\nrule e src=fe80::/10\n") == 0);
    struct fx_flow flow = {.ip_version = 4, .proto = 6, .dport = 80, .dst = {10, 1, 15, 255}};
    CHECK(fx_rules_match(&config.rules, &flow, 0) == 1);
    flow.dst[2] = 16;
    CHECK(fx_rules_match(&config.rules, &flow, 0) == 0);
    flow.dst[2] = 0;
    flow.dport = 91;
    CHECK(fx_rules_match(&config.rules, &flow, 0) == 0);
    struct fx_flow local = {.ip_version = 6, .src = {0xfe, 0xbf}};
    CHECK(fx_rules_match(&config.rules, &local, 0) == 2);
    local.src[1] = 0xc0;
    CHECK(fx_rules_match(&config.rules, &local, 0) == 0);
}

static void stateful_types_keep_their_flows(void)
{
    struct fx_type_config nat = {.stateful = true, .max_instances = 2};
    CHECK(fx_mapping_allowed(&nat, FX_RENDEZVOUS) && !fx_mapping_allowed(&nat, FX_EVEN));
    nat.max_instances = 1;
    CHECK(fx_mapping_allowed(&nat, FX_ALGORITHM1));
    nat.max_instances = 0;
    CHECK(fx_mapping_allowed(&nat, FX_EVEN));
}

int main(void)
{
    takes_what_the_readme_says();
    refuses_what_makes_no_sense();
    run_to_completion_leaves_instances_to_the_first_type();
    any_bytes_are_read_without_a_crash();
    rules_match_what_they_say();
    stateful_types_keep_their_flows();
    return 0;
}
