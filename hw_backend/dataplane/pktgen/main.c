/* flexnfv-pktgen: see options.c for what it does, docs in README.md beside this file. */
#include "capture.h"
#include "clock.h"
#include "fail.h"
#include "options.h"
#include "parse.h"
#include "report.h"
#include "run.h"
#include "search.h"
#include "sizes.h"
#include "trace.h"
#include "writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A capture's peak is measured over windows of this length, in recorded time. */
#define PEAK_WINDOW_NS 100000000ull

struct inputs {
    struct trace trace;
    struct capture capture;
};

static void print_flows(const struct options *options)
{
    double sum = 0;
    for (uint32_t flow = 0; flow < options->flows; flow++)
        sum += pow(flow + 1.0, -options->zipf);
    puts("flow,source_ip,destination_ip,source_port,destination_port,hash,weight");
    for (uint32_t flow = 0; flow < options->flows; flow++) {
        struct five_tuple t = flow_tuple(options->seed, flow);
        printf("%u,%u,%u,%u,%u,%u,%.17g\n", flow, t.src_ip, t.dst_ip, t.src_port, t.dst_port,
               fx_toeplitz(flow_fold(&t)), pow(flow + 1.0, -options->zipf) / sum);
    }
}

static double capture_peak_pps(const struct capture *capture)
{
    size_t first = 0, most = 0;
    for (size_t i = 0; i < capture->count; i++) {
        while (capture->packets[i].time_ns - capture->packets[first].time_ns >= PEAK_WINDOW_NS)
            first++;
        if (i - first + 1 > most)
            most = i - first + 1;
    }
    return (double)most * 1e9 / PEAK_WINDOW_NS;
}

static void refuse_too_fast(const struct options *options, const struct inputs *inputs)
{
    double limit = options->max_pps;
    if (limit == 0 || options->search)
        return;
    if (options->pace == PACE_UNLIMITED)
        bad_input("--rate max knows no limit; leave out --max-pps or give a rate");
    if (options->pace == PACE_RATE && options->rate > limit)
        bad_input("--rate %g is above --max-pps %g", options->rate, limit);
    if (options->pace == PACE_TRACE && inputs->trace.peak_pps * options->rate_scale > limit)
        bad_input("%s: peaks at %g packets/s, above --max-pps %g; the highest --rate-scale is %.6g",
                  options->trace, inputs->trace.peak_pps * options->rate_scale, limit,
                  limit / inputs->trace.peak_pps);
    if (options->pace == PACE_RECORDED) {
        double peak = capture_peak_pps(&inputs->capture);
        if (peak * options->time_scale > limit)
            bad_input(
                "%s: peaks at %g packets/s, above --max-pps %g; the highest --time-scale is %.6g",
                options->capture, peak * options->time_scale, limit, limit / peak);
    }
}

static void read_inputs(const struct options *options, struct inputs *inputs)
{
    char error[ERROR_MAX];
    if (options->trace && trace_read(&inputs->trace, options->trace, error))
        bad_input("%s", error);
    if (options->capture && capture_read(&inputs->capture, options->capture, error))
        bad_input("%s", error);
    refuse_too_fast(options, inputs);
}

static void make_schedule(struct schedule *schedule, const struct options *options,
                          const struct inputs *inputs)
{
    uint64_t count = options->count;
    if (options->workload == WORKLOAD_CAPTURE && options->passes &&
        (count == 0 || count > options->passes * inputs->capture.count))
        count = options->passes * inputs->capture.count;
    switch (options->pace) {
    case PACE_UNLIMITED:
        schedule_unlimited(schedule, options->duration_ns, count);
        break;
    case PACE_TRACE:
        if (schedule_trace(schedule, &inputs->trace, options->time_scale, options->rate_scale,
                           options->passes, options->duration_ns, count))
            bad_input("%s: no memory for its schedule", options->trace);
        break;
    case PACE_RECORDED:
        schedule_capture(schedule, &inputs->capture, options->time_scale, options->passes,
                         options->duration_ns, count);
        break;
    default:
        schedule_constant(schedule, options->rate, options->duration_ns, count);
    }
}

/* Bytes of the longest frame to be sent, without FCS. */
static uint32_t largest_frame(const struct options *options, const struct inputs *inputs)
{
    uint32_t largest = options->size;
    if (options->workload == WORKLOAD_CAPTURE)
        return inputs->capture.largest;
    if (options->imix)
        largest = imix_sizes[IMIX_CYCLE - 1];
    if (inputs->trace.largest)
        largest = inputs->trace.largest;
    return largest - SIZE_FCS;
}

static struct writer *open_writer(const struct options *options)
{
    char error[ERROR_MAX];
    struct writer *writer = NULL;
    if (options->write && !(writer = writer_open(options->write, error)))
        bad_input("%s", error);
    return writer;
}

static int close_writer(struct writer *writer)
{
    char error[ERROR_MAX];
    if (!writer || writer_close(writer, error) == 0)
        return 0;
    fprintf(stderr, "flexnfv-pktgen: %s\n", error);
    return EXIT_PORT_FAILED;
}

static void set_up(struct generator *generator, const struct options *options,
                   const struct inputs *inputs, struct writer *writer)
{
    const struct capture *capture = options->capture ? &inputs->capture : NULL;
    *generator = (struct generator){
        .options = options,
        .sends = options->workload != WORKLOAD_NONE,
        .receives = options->receive,
        .stream = (uint16_t)(clock_ns() >> 10),
    };
    ports_open(&generator->ports, options, largest_frame(options, inputs));
    if (sender_init(&generator->sender, options, capture, generator->ports.tx,
                    generator->ports.pool) ||
        receiver_init(&generator->receiver, options, generator->ports.rx, writer)) {
        ports_close(&generator->ports);
        bad_input("no memory for %u flows; give fewer --flows", options->flows);
    }
}

/* Returns the exit code. */
static int run_all(struct generator *generator, struct schedule *schedule)
{
    const struct options *options = generator->options;
    struct run_result result = {.end = RUN_STOPPED};
    if (!run_await_link(generator)) {
        fprintf(stderr,
                "flexnfv-pktgen: --port %s: no link after %g s; start its peer or give a "
                "longer --link-wait\n",
                options->port, (double)options->link_wait_ns / 1e9);
        return EXIT_PORT_FAILED;
    }
    if (!options->search)
        run_prepare(generator); /* so that it starts when it is told to */
    report_ready(generator);
    if (options->search)
        search_run(generator);
    else {
        if (!options->control || run_await_start(generator, schedule))
            run_schedule(generator, schedule, true, &result);
        report_summary(generator, &result);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct inputs inputs;
    static struct generator generator;
    struct schedule schedule = {0};
    options_parse(&options, argc, argv);
    if (options.list_flows) {
        print_flows(&options);
        return 0;
    }
    read_inputs(&options, &inputs);
    if (!options.search)
        make_schedule(&schedule, &options, &inputs);
    struct writer *writer = open_writer(&options);
    run_catch_signals();
    run_be_punctual(&options);
    set_up(&generator, &options, &inputs, writer);
    int status = run_all(&generator, &schedule);
    sender_free(&generator.sender);
    receiver_free(&generator.receiver);
    ports_close(&generator.ports);
    if (close_writer(writer))
        status = EXIT_PORT_FAILED;
    schedule_free(&schedule);
    trace_free(&inputs.trace);
    capture_free(&inputs.capture);
    return status;
}
