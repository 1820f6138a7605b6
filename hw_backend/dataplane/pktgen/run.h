/* One run: packets sent by a schedule, what comes back measured, one record a period. */
#ifndef PKTGEN_RUN_H
#define PKTGEN_RUN_H

#include "control.h"
#include "options.h"
#include "port.h"
#include "rx.h"
#include "schedule.h"
#include "tx.h"

#include <stdbool.h>
#include <stdint.h>

struct generator {
    const struct options *options;
    struct ports ports;
    struct sender sender;
    struct receiver receiver;
    struct control control;
    bool sends;
    bool receives;
    uint16_t stream;
};

/* Counts since the start of a run. */
struct counts {
    uint64_t wanted; /* packets due */
    uint64_t sent;   /* packets that the port took */
    uint64_t sent_bytes;
    uint64_t missed; /* packets given up, because the port or the processor was too slow */
    uint64_t received;
    uint64_t received_bytes;
    uint64_t delivered; /* of `received`: the run's own, duplicates not counted */
    uint64_t unreadable;
    uint64_t foreign;
    uint64_t missing; /* numbers skipped and not seen since */
    uint64_t reordered;
    uint64_t duplicates;
};

enum run_end { RUN_DONE, RUN_STOPPED, RUN_SIGNAL };

struct run_result {
    enum run_end end;
    double seconds; /* from start to the last packet due, drain excluded */
    double cpu_seconds;
    double worst_rate_error; /* over whole periods: |sent - wanted| / wanted */
    struct counts counts;
};

/* From now on SIGINT and SIGTERM end whatever runs. */
void run_catch_signals(void);

/* Asks the kernel to wake this process when it wanted to, also where others keep the cores busy. */
void run_be_punctual(const struct options *options);

/* Waits for the ports' links, receiving meanwhile; false when it took too long or was stopped. */
bool run_await_link(struct generator *generator);

/* A new stream, counted from zero: before every schedule, since it takes milliseconds. */
void run_prepare(struct generator *generator);

/* Waits for the command `start`; false when stopped instead. */
bool run_await_start(struct generator *generator, struct schedule *schedule);

/* Runs the schedule to its end, then lets what is under way come back. */
void run_schedule(struct generator *generator, struct schedule *schedule, bool records,
                  struct run_result *result);

#endif
