#include "report.h"

#include "sizes.h"

#include <math.h>
#include <rte_ethdev.h>
#include <stdio.h>

static const char *end_name(enum run_end end)
{
    return end == RUN_DONE ? "done" : end == RUN_STOPPED ? "stopped" : "signal";
}

static const char *pace_name(const struct options *options)
{
    static const char *const names[] = {"rate", "max", "trace", "recorded"};
    return options->search                      ? "search"
           : options->workload == WORKLOAD_NONE ? "sink"
                                                : names[options->pace];
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void print_latency(const struct histogram *latency)
{
    if (!latency || latency->total == 0) {
        printf(",\"latency_us\":null");
        return;
    }
    printf(",\"latency_us\":{\"count\":%lu,\"mean\":%.3f,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,"
           "\"max\":%.3f}",
           latency->total, (double)latency->sum / (double)latency->total / 1e3,
           (double)histogram_quantile(latency, 0.5) / 1e3,
           (double)histogram_quantile(latency, 0.99) / 1e3,
           (double)histogram_quantile(latency, 0.999) / 1e3, (double)latency->max / 1e3);
}

static void print_received(const struct counts *counts)
{
    printf(",\"received\":%lu,\"received_bytes\":%lu,\"delivered\":%lu,\"unreadable\":%lu,"
           "\"foreign\":%lu,\"reordered\":%lu,\"duplicates\":%lu",
           counts->received, counts->received_bytes, counts->delivered, counts->unreadable,
           counts->foreign, counts->reordered, counts->duplicates);
}

static void print_device(const char *key, uint16_t port)
{
    struct rte_eth_dev_info info;
    char name[RTE_ETH_NAME_MAX_LEN] = "";
    rte_eth_dev_get_name_by_port(port, name);
    printf(",\"%s\":\"%s\"", key, name);
    if (rte_eth_dev_info_get(port, &info) == 0)
        printf(",\"%s_driver\":\"%s\"", key, info.driver_name);
}

static void end_line(void)
{
    puts("}");
    fflush(stdout);
}

uint64_t report_lost(const struct generator *generator, const struct counts *counts)
{
    if (!generator->sends)
        return counts->missing;
    return counts->sent - RTE_MIN(counts->sent, counts->delivered);
}

void report_ready(const struct generator *generator)
{
    const struct options *options = generator->options;
    printf("{\"type\":\"ready\",\"version\":\"%s\",\"pace\":\"%s\",\"control\":%s,\"flows\":%u,"
           "\"zipf\":%.17g,\"seed\":%lu,\"size\":%u,\"imix\":%s",
           PKTGEN_VERSION, pace_name(options), options->control ? "true" : "false", options->flows,
           options->zipf, options->seed, options->size, options->imix ? "true" : "false");
    print_device("tx", generator->ports.tx);
    if (generator->receives)
        print_device("rx", generator->ports.rx);
    end_line();
}

void report_command(const char *command, double pps)
{
    printf("{\"type\":\"command\",\"command\":\"%s\"", command);
    if (!isnan(pps))
        printf(",\"pps\":%.17g", pps);
    end_line();
}

void report_refused(const char *command, const char *reason)
{
    printf("{\"type\":\"refused\",\"command\":\"%s\",\"reason\":\"%s\"", command, reason);
    end_line();
}

void report_period(double t_s, double length_s, const struct counts *now,
                   const struct counts *before, const struct histogram *latency, bool link_up)
{
    struct counts part = {
        .wanted = now->wanted - before->wanted,
        .sent = now->sent - before->sent,
        .sent_bytes = now->sent_bytes - before->sent_bytes,
        .missed = now->missed - before->missed,
        .received = now->received - before->received,
        .received_bytes = now->received_bytes - before->received_bytes,
        .delivered = now->delivered - before->delivered,
        .unreadable = now->unreadable - before->unreadable,
        .foreign = now->foreign - before->foreign,
        .reordered = now->reordered - before->reordered,
        .duplicates = now->duplicates - before->duplicates,
    };
    printf("{\"type\":\"period\",\"t_s\":%.6f,\"length_s\":%.6f,\"wanted\":%lu,\"sent\":%lu,"
           "\"missed\":%lu,\"wanted_pps\":%.3f,\"sent_pps\":%.3f,\"sent_bytes\":%lu",
           t_s, length_s, part.wanted, part.sent, part.missed, (double)part.wanted / length_s,
           (double)part.sent / length_s, part.sent_bytes);
    if (latency) {
        print_received(&part);
        printf(",\"received_pps\":%.3f", (double)part.received / length_s);
    }
    print_latency(latency);
    printf(",\"link\":%s", link_up ? "true" : "false");
    end_line();
}

static void print_totals(const struct generator *generator, const struct run_result *result)
{
    const struct counts *counts = &result->counts;
    printf(",\"duration_s\":%.6f,\"wanted\":%lu,\"sent\":%lu,\"sent_bytes\":%lu,\"missed\":%lu,"
           "\"wanted_pps\":%.3f,\"sent_pps\":%.3f",
           result->seconds, counts->wanted, counts->sent, counts->sent_bytes, counts->missed,
           ratio((double)counts->wanted, result->seconds),
           ratio((double)counts->sent, result->seconds));
    if (generator->receives) {
        uint64_t lost = report_lost(generator, counts);
        print_received(counts);
        printf(",\"lost\":%lu,\"loss\":%.9g", lost,
               ratio((double)lost,
                     (double)(generator->sends ? counts->sent : counts->delivered + lost)));
    }
}

void report_trial(unsigned int trial, double pps, bool passed, const struct run_result *result)
{
    const struct counts *counts = &result->counts;
    uint64_t gone = counts->wanted - RTE_MIN(counts->wanted, counts->delivered);
    printf("{\"type\":\"trial\",\"trial\":%u,\"pps\":%.3f,\"passed\":%s,\"duration_s\":%.6f,"
           "\"wanted\":%lu,\"sent\":%lu,\"missed\":%lu",
           trial, pps, passed ? "true" : "false", result->seconds, counts->wanted, counts->sent,
           counts->missed);
    print_received(counts);
    printf(",\"loss\":%.9g", ratio((double)gone, (double)counts->wanted));
    end_line();
}

void report_summary(const struct generator *generator, const struct run_result *result)
{
    printf("{\"type\":\"summary\",\"end\":\"%s\"", end_name(result->end));
    print_totals(generator, result);
    printf(",\"worst_rate_error\":%.9g,\"cpu_s\":%.6f", result->worst_rate_error,
           result->cpu_seconds);
    print_latency(generator->receives ? &generator->receiver.latency : NULL);
    end_line();
}

void report_search(double highest_pps, double lowest_failed_pps, unsigned int trials,
                   const char *end)
{
    printf("{\"type\":\"summary\",\"end\":\"%s\",\"highest_pps\":%.3f,\"lowest_failed_pps\":", end,
           highest_pps);
    if (lowest_failed_pps > 0)
        printf("%.3f", lowest_failed_pps);
    else
        printf("null");
    printf(",\"trials\":%u", trials);
    end_line();
}
