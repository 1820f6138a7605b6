/* Commands as lines on standard input: `start`, `rate PPS`, `stop`. The end of input means stop. */
#ifndef PKTGEN_CONTROL_H
#define PKTGEN_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#define CONTROL_LINE_MAX 128

enum command_kind { COMMAND_START, COMMAND_RATE, COMMAND_STOP, COMMAND_BAD };

struct command {
    enum command_kind kind;
    double pps; /* of COMMAND_RATE */
};

struct control {
    bool ended;
    size_t used;
    char text[CONTROL_LINE_MAX];
};

/* What one line, without its end, asks for. */
struct command control_parse(const char *line);

/* Takes the next command if there is one, waiting up to `wait_ms` for it. */
bool control_next(struct control *control, int wait_ms, struct command *command);

#endif
