#include "options.h"

#include "fail.h"
#include "flows.h"
#include "schedule.h"
#include "sizes.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOURS_MAX_S     1e7 /* about four months */
#define DESCRIPTORS_MIN 64
#define DESCRIPTORS_MAX 32768

static const char usage[] =
    "Usage: flexnfv-pktgen --port DEVICE [WHAT] [HOW FAST] [OPTION]...\n"
    "\n"
    "Sends packets into a DPDK port at a wanted rate and measures what comes back: loss, order,\n"
    "duplicates, latency. Prints JSON lines: ready, one per period, trials of a search, summary.\n"
    "\n"
    "Ports (net_memif0,role=client,socket=..., net_af_packet0,iface=..., net_pcap0,..., PCI "
    "address)\n"
    "  --port DEVICE        port to send on\n"
    "  --rx-port DEVICE     port to receive on, or none (default: the sending port)\n"
    "  --descriptors N      ring size asked of the ports (1024)\n"
    "  --link-wait S        wait this long for the link, or a memif's peer (10)\n"
    "\n"
    "What\n"
    "  --flows N            flow set: number of UDP/IPv4 flows (4096)\n"
    "  --zipf X             their popularity: flow k is drawn in proportion to (k+1)^-X (0)\n"
    "  --seed N             seed of addresses, ports and draws (1)\n"
    "  --list-flows         print the flow set as CSV and end\n"
    "  --size BYTES         frame size with FCS (64)\n"
    "  --imix               64, 594 and 1518 bytes, 7 : 4 : 1\n"
    "  --src-mac, --dst-mac MAC\n"
    "  --pcap FILE          packets of a capture instead, byte for byte\n"
    "  --sink               nothing: receive alone, from another flexnfv-pktgen with as many "
    "flows\n"
    "\n"
    "How fast\n"
    "  --rate PPS|max       constant, or as fast as the port takes them\n"
    "  --trace CSV          a rate trace: t_s,pps or t_s,pps,packet_bytes\n"
    "  (neither, with --pcap: as recorded)\n"
    "  --time-scale X       recorded seconds played a second (1)\n"
    "  --rate-scale X       factor on a trace's rates (1)\n"
    "  --loops N            times a trace or capture is played, 0 for ever (1)\n"
    "  --duration S         end after this time\n"
    "  --count N            end after this many packets, sent or (--sink) received\n"
    "  --max-pps PPS        refuse anything faster before it starts\n"
    "\n"
    "Search for the highest loss-free rate (RFC 2544)\n"
    "  --search             between --min-pps (1000) and --max-pps\n"
    "  --trial S            length of a trial (10)\n"
    "  --tolerance X        share of packets that may be lost (1e-5)\n"
    "  --resolution X       end when pass and fail are this close, relatively (0.01)\n"
    "\n"
    "Running\n"
    "  --control            start paused; commands as lines on standard input: start, rate PPS, "
    "stop;\n"
    "                       its end means stop\n"
    "  --period S           time between records (1)\n"
    "  --tick US            send and receive this often, sleeping in between (500)\n"
    "  --poll               never sleep\n"
    "  --backlog MS         packets overdue by more are given up as missed (100)\n"
    "  --drain MS           at the end, wait until nothing came for this long (200); who receives\n"
    "                       nothing keeps the port open for as long\n"
    "  --write FILE         keep what is received, as a capture\n"
    "  --key HEX            key of an encryptor on the way: probes are read behind it\n"
    "  --nonce HEX          its nonce (00000000)\n"
    "  --cpus LIST          processors to run on\n"
    "  --file-prefix NAME   DPDK file prefix (flexnfv-pktgen-PID)\n"
    "  --no-huge            run without huge pages\n"
    "  --verbose            show DPDK's own messages\n"
    "  --help, --version\n"
    "\n"
    "Ends with 0 when done or stopped, 2 on bad input, 1 when a port fails.\n";

enum option_id {
    OPT_PORT = 256,
    OPT_RX_PORT,
    OPT_DESCRIPTORS,
    OPT_LINK_WAIT,
    OPT_FLOWS,
    OPT_ZIPF,
    OPT_SEED,
    OPT_LIST_FLOWS,
    OPT_SIZE,
    OPT_IMIX,
    OPT_SRC_MAC,
    OPT_DST_MAC,
    OPT_PCAP,
    OPT_SINK,
    OPT_RATE,
    OPT_TRACE,
    OPT_TIME_SCALE,
    OPT_RATE_SCALE,
    OPT_LOOPS,
    OPT_DURATION,
    OPT_COUNT,
    OPT_MAX_PPS,
    OPT_SEARCH,
    OPT_MIN_PPS,
    OPT_TRIAL,
    OPT_TOLERANCE,
    OPT_RESOLUTION,
    OPT_CONTROL,
    OPT_PERIOD,
    OPT_TICK,
    OPT_POLL,
    OPT_BACKLOG,
    OPT_DRAIN,
    OPT_WRITE,
    OPT_KEY,
    OPT_NONCE,
    OPT_CPUS,
    OPT_FILE_PREFIX,
    OPT_NO_HUGE,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"port", required_argument, NULL, OPT_PORT},
    {"rx-port", required_argument, NULL, OPT_RX_PORT},
    {"descriptors", required_argument, NULL, OPT_DESCRIPTORS},
    {"link-wait", required_argument, NULL, OPT_LINK_WAIT},
    {"flows", required_argument, NULL, OPT_FLOWS},
    {"zipf", required_argument, NULL, OPT_ZIPF},
    {"seed", required_argument, NULL, OPT_SEED},
    {"list-flows", no_argument, NULL, OPT_LIST_FLOWS},
    {"size", required_argument, NULL, OPT_SIZE},
    {"imix", no_argument, NULL, OPT_IMIX},
    {"src-mac", required_argument, NULL, OPT_SRC_MAC},
    {"dst-mac", required_argument, NULL, OPT_DST_MAC},
    {"pcap", required_argument, NULL, OPT_PCAP},
    {"sink", no_argument, NULL, OPT_SINK},
    {"rate", required_argument, NULL, OPT_RATE},
    {"trace", required_argument, NULL, OPT_TRACE},
    {"time-scale", required_argument, NULL, OPT_TIME_SCALE},
    {"rate-scale", required_argument, NULL, OPT_RATE_SCALE},
    {"loops", required_argument, NULL, OPT_LOOPS},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"count", required_argument, NULL, OPT_COUNT},
    {"max-pps", required_argument, NULL, OPT_MAX_PPS},
    {"search", no_argument, NULL, OPT_SEARCH},
    {"min-pps", required_argument, NULL, OPT_MIN_PPS},
    {"trial", required_argument, NULL, OPT_TRIAL},
    {"tolerance", required_argument, NULL, OPT_TOLERANCE},
    {"resolution", required_argument, NULL, OPT_RESOLUTION},
    {"control", no_argument, NULL, OPT_CONTROL},
    {"period", required_argument, NULL, OPT_PERIOD},
    {"tick", required_argument, NULL, OPT_TICK},
    {"poll", no_argument, NULL, OPT_POLL},
    {"backlog", required_argument, NULL, OPT_BACKLOG},
    {"drain", required_argument, NULL, OPT_DRAIN},
    {"write", required_argument, NULL, OPT_WRITE},
    {"key", required_argument, NULL, OPT_KEY},
    {"nonce", required_argument, NULL, OPT_NONCE},
    {"cpus", required_argument, NULL, OPT_CPUS},
    {"file-prefix", required_argument, NULL, OPT_FILE_PREFIX},
    {"no-huge", no_argument, NULL, OPT_NO_HUGE},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char *option_name(int id)
{
    for (const struct option *option = long_options; option->name; option++)
        if (option->val == id)
            return option->name;
    return "?";
}

static double number(int id, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value < least || value > most)
        bad_input("--%s %s: give a number from %g to %g", option_name(id), text, least, most);
    return value;
}

static uint64_t whole(int id, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end != '\0' || value < least || value > most)
        bad_input("--%s %s: give a whole number from %llu to %llu", option_name(id), text,
                  (unsigned long long)least, (unsigned long long)most);
    return value;
}

static uint64_t span(int id, const char *text, double least, double most, double unit_ns)
{
    return (uint64_t)llround(number(id, text, least, most) * unit_ns);
}

static void mac(int id, const char *text, uint8_t bytes[MAC_LENGTH])
{
    unsigned int part[MAC_LENGTH];
    int end = 0;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &part[0], &part[1], &part[2], &part[3], &part[4],
               &part[5], &end) != MAC_LENGTH ||
        text[end] != '\0')
        bad_input("--%s %s: give a MAC address like 02:00:00:00:00:01", option_name(id), text);
    for (int i = 0; i < MAC_LENGTH; i++)
        bytes[i] = (uint8_t)part[i];
}

/* Exactly 2 * length hexadecimal digits. */
static void hex(int id, const char *text, uint8_t *bytes, size_t length)
{
    if (strlen(text) != 2 * length || strspn(text, "0123456789abcdefABCDEF") != 2 * length)
        bad_input("--%s: give %zu hexadecimal digits", option_name(id), 2 * length);
    for (size_t i = 0; i < length; i++)
        sscanf(text + 2 * i, "%2hhx", &bytes[i]);
}

static void cpu_list(int id, const char *text)
{
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    const char *at = text;
    do {
        char *end;
        at += at != text;
        long first = strtol(at, &end, 10), last = first;
        if (end > at && *end == '-')
            last = strtol(at = end + 1, &end, 10);
        if (end == at || *at < '0' || *at > '9' || first < 0 || last < first || last >= cpus ||
            (*end != ',' && *end != '\0'))
            bad_input("--%s %s: give a list like 0,2-3; this machine has 0 to %ld", option_name(id),
                      text, cpus - 1);
        at = end;
    } while (*at == ',');
}

/* What was given, beyond the values: some options exclude others. */
struct given {
    bool rate, trace, pcap, sink, max_pps, size, imix, scale, time_scale;
};

static void take_rate(struct options *options, int id, const char *text)
{
    options->pace = strcmp(text, "max") == 0 ? PACE_UNLIMITED : PACE_RATE;
    if (options->pace == PACE_RATE)
        options->rate = number(id, text, 0, TRACE_PPS_MAX);
}

static void take_workload(struct options *options, struct given *given, int id, char *text)
{
    switch (id) {
    case OPT_FLOWS:
        options->flows = (uint32_t)whole(id, text, 1, FLOWS_MAX);
        break;
    case OPT_ZIPF:
        options->zipf = number(id, text, 0, ZIPF_MAX);
        break;
    case OPT_SEED:
        options->seed = whole(id, text, 0, UINT64_MAX);
        break;
    case OPT_LIST_FLOWS:
        options->list_flows = true;
        break;
    case OPT_SIZE:
        options->size = (uint16_t)whole(id, text, SIZE_MIN, SIZE_MAX_FRAME);
        given->size = true;
        break;
    case OPT_IMIX:
        options->imix = given->imix = true;
        break;
    case OPT_SRC_MAC:
        mac(id, text, options->src_mac);
        break;
    case OPT_DST_MAC:
        mac(id, text, options->dst_mac);
        break;
    case OPT_PCAP:
        options->capture = text;
        options->workload = WORKLOAD_CAPTURE;
        given->pcap = true;
        break;
    case OPT_SINK:
        options->workload = WORKLOAD_NONE;
        given->sink = true;
        break;
    default:
        bad_input("--%s: not handled", option_name(id));
    }
}

static void take_pace(struct options *options, struct given *given, int id, char *text)
{
    switch (id) {
    case OPT_RATE:
        take_rate(options, id, text);
        given->rate = true;
        break;
    case OPT_TRACE:
        options->trace = text;
        options->pace = PACE_TRACE;
        given->trace = true;
        break;
    case OPT_TIME_SCALE:
        options->time_scale = number(id, text, 1e-6, 1e9);
        given->time_scale = true;
        break;
    case OPT_RATE_SCALE:
        options->rate_scale = number(id, text, 1e-12, 1e12);
        given->scale = true;
        break;
    case OPT_LOOPS:
        options->passes = whole(id, text, 0, 1000000000);
        break;
    case OPT_DURATION:
        options->duration_ns = span(id, text, 1e-3, HOURS_MAX_S, 1e9);
        break;
    case OPT_COUNT:
        options->count = whole(id, text, 1, UINT64_MAX / 2);
        break;
    case OPT_MAX_PPS:
        options->max_pps = number(id, text, 1, TRACE_PPS_MAX);
        given->max_pps = true;
        break;
    case OPT_SEARCH:
        options->search = true;
        break;
    case OPT_MIN_PPS:
        options->min_pps = number(id, text, 1, TRACE_PPS_MAX);
        break;
    case OPT_TRIAL:
        options->trial_ns = span(id, text, 0.05, HOURS_MAX_S, 1e9);
        break;
    case OPT_TOLERANCE:
        options->tolerance = number(id, text, 0, 0.5);
        break;
    case OPT_RESOLUTION:
        options->resolution = number(id, text, 1e-4, 0.5);
        break;
    default:
        take_workload(options, given, id, text);
    }
}

static void take(struct options *options, struct given *given, int id, char *text)
{
    switch (id) {
    case OPT_PORT:
        options->port = text;
        break;
    case OPT_RX_PORT:
        options->receive = strcmp(text, "none") != 0;
        options->rx_port = options->receive ? text : NULL;
        break;
    case OPT_DESCRIPTORS:
        options->descriptors = (uint32_t)whole(id, text, DESCRIPTORS_MIN, DESCRIPTORS_MAX);
        break;
    case OPT_LINK_WAIT:
        options->link_wait_ns = span(id, text, 0, HOURS_MAX_S, 1e9);
        break;
    case OPT_CONTROL:
        options->control = true;
        break;
    case OPT_PERIOD:
        options->period_ns = span(id, text, 0.01, 3600, 1e9);
        break;
    case OPT_TICK:
        options->tick_ns = span(id, text, 20, 1e5, 1e3);
        break;
    case OPT_POLL:
        options->poll = true;
        break;
    case OPT_BACKLOG:
        options->backlog_ns = span(id, text, 1, 1e6, 1e6);
        break;
    case OPT_DRAIN:
        options->drain_ns = span(id, text, 0, 1e6, 1e6);
        break;
    case OPT_WRITE:
        options->write = text;
        break;
    case OPT_KEY:
        hex(id, text, options->key, sizeof(options->key));
        options->decrypts = true;
        break;
    case OPT_NONCE:
        hex(id, text, options->nonce, sizeof(options->nonce));
        break;
    case OPT_CPUS:
        cpu_list(id, text);
        options->cpus = text;
        break;
    case OPT_FILE_PREFIX:
        options->prefix = text;
        break;
    case OPT_NO_HUGE:
        options->huge_pages = false;
        break;
    case OPT_VERBOSE:
        options->verbose = true;
        break;
    case OPT_HELP:
        fputs(usage, stdout);
        exit(0);
    case OPT_VERSION:
        puts("flexnfv-pktgen " PKTGEN_VERSION);
        exit(0);
    case '?':
    case ':':
        bad_input("see --help");
    default:
        take_pace(options, given, id, text);
    }
}

static void refuse_contradictions(const struct options *options, const struct given *given)
{
    if (!options->port && !options->list_flows)
        bad_input("no port; give --port, for example net_memif0,role=client,socket=NAME");
    if (given->pcap + given->sink > 1)
        bad_input("--pcap and --sink exclude each other");
    if (given->trace && (given->rate || given->pcap))
        bad_input("--trace sets the rate of the flow set; leave out --%s",
                  given->rate ? "rate" : "pcap");
    if (given->sink && (given->rate || given->trace || options->search))
        bad_input("--sink sends nothing; leave out --%s", given->rate    ? "rate"
                                                          : given->trace ? "trace"
                                                                         : "search");
    if (options->search && (given->rate || given->trace || options->control))
        bad_input("--search sets the rate itself; leave out --%s", given->rate    ? "rate"
                                                                   : given->trace ? "trace"
                                                                                  : "control");
    if (options->search && !given->max_pps)
        bad_input("--search needs --max-pps, the rate to begin with");
    if (options->search && options->min_pps > options->max_pps)
        bad_input("--min-pps %g is above --max-pps %g", options->min_pps, options->max_pps);
    if (given->size && given->imix)
        bad_input("--size and --imix exclude each other");
    if (given->scale && !given->trace)
        bad_input("--rate-scale is for --trace alone");
    if (given->time_scale && !given->trace && options->pace != PACE_RECORDED)
        bad_input("--time-scale is for --trace and captures at their recorded rate");
    if (!options->receive && (options->search || given->sink || options->write))
        bad_input("--rx-port none leaves nothing to measure");
}

static void settle_pace(struct options *options, const struct given *given)
{
    if (given->rate || given->trace || options->search || given->sink || options->list_flows)
        return;
    if (!given->pcap)
        bad_input("no rate; give --rate PPS, --rate max, --trace CSV or --search");
    options->pace = PACE_RECORDED;
}

void options_parse(struct options *options, int argc, char **argv)
{
    struct given given = {0};
    int id;
    *options = (struct options){
        .receive = true,
        .workload = WORKLOAD_FLOWS,
        .pace = PACE_RATE,
        .time_scale = 1,
        .rate_scale = 1,
        .passes = 1,
        .size = SIZE_MIN,
        .flows = 4096,
        .seed = 1,
        .src_mac = {2, 0, 0, 0, 0, 1},
        .dst_mac = {2, 0, 0, 0, 0, 2},
        .min_pps = 1000,
        .trial_ns = 10 * SECOND_NS,
        .tolerance = 1e-5,
        .resolution = 0.01,
        .period_ns = SECOND_NS,
        .tick_ns = 500000,
        .backlog_ns = 100000000,
        .drain_ns = 200000000,
        .link_wait_ns = 10 * SECOND_NS,
        .descriptors = 1024,
        .huge_pages = true,
    };
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        take(options, &given, id, optarg);
    if (optind < argc)
        bad_input("'%s' is no option; see --help", argv[optind]);
    settle_pace(options, &given);
    refuse_contradictions(options, &given);
}
