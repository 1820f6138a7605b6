#include "control.h"

#include "trace.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command control_parse(const char *line)
{
    struct command bad = {.kind = COMMAND_BAD};
    char *end;
    if (strcmp(line, "start") == 0)
        return (struct command){.kind = COMMAND_START};
    if (strcmp(line, "stop") == 0)
        return (struct command){.kind = COMMAND_STOP};
    if (strncmp(line, "rate ", 5) != 0)
        return bad;
    double pps = strtod(line + 5, &end);
    if (end == line + 5 || *end != '\0' || !isfinite(pps) || pps < 0 || pps > TRACE_PPS_MAX)
        return bad;
    return (struct command){.kind = COMMAND_RATE, .pps = pps};
}

/* Cuts the first whole line off the buffer. A line that cannot be a command is as good as a bad
 * one. */
static bool take_line(struct control *control, struct command *command)
{
    char *end = memchr(control->text, '\n', control->used);
    if (!end && control->used < sizeof(control->text))
        return false;
    if (!end) {
        control->used = 0;
        *command = (struct command){.kind = COMMAND_BAD};
        return true;
    }
    *end = '\0';
    *command = control_parse(control->text);
    control->used -= (size_t)(end + 1 - control->text);
    memmove(control->text, end + 1, control->used);
    return true;
}

bool control_next(struct control *control, int wait_ms, struct command *command)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (take_line(control, command))
        return true;
    if (control->ended || poll(&input, 1, wait_ms) <= 0)
        return false;
    ssize_t got =
        read(STDIN_FILENO, control->text + control->used, sizeof(control->text) - control->used);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    if (got <= 0) {
        control->ended = true;
        *command = (struct command){.kind = COMMAND_STOP};
        return true;
    }
    control->used += (size_t)got;
    return take_line(control, command);
}
