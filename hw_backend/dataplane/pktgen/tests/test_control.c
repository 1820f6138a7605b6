/* Commands, whole, in pieces, malformed, and the end of input. */
#include "check.h"
#include "control.h"

#include <string.h>
#include <unistd.h>

static void lines(void)
{
    static const struct {
        const char *line;
        enum command_kind kind;
        double pps;
    } rows[] = {
        {"start", COMMAND_START, 0},       {"stop", COMMAND_STOP, 0},
        {"rate 1000", COMMAND_RATE, 1000}, {"rate 2.5e5", COMMAND_RATE, 2.5e5},
        {"rate 0", COMMAND_RATE, 0},       {"", COMMAND_BAD, 0},
        {"rate", COMMAND_BAD, 0},          {"rate ", COMMAND_BAD, 0},
        {"rate -1", COMMAND_BAD, 0},       {"rate nan", COMMAND_BAD, 0},
        {"rate inf", COMMAND_BAD, 0},      {"rate 1e10", COMMAND_BAD, 0},
        {"rate 5x", COMMAND_BAD, 0},       {"Start", COMMAND_BAD, 0},
        {"start now", COMMAND_BAD, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct command command = control_parse(rows[i].line);
        CHECK_EQ(command.kind, rows[i].kind);
        CHECK(command.kind != COMMAND_RATE || command.pps == rows[i].pps);
    }
}

static void say(int pipe_end, const char *text)
{
    CHECK_EQ(write(pipe_end, text, strlen(text)), strlen(text));
}

static void input_arrives_in_any_pieces(void)
{
    struct control control = {0};
    struct command command;
    int ends[2];
    char long_line[3 * CONTROL_LINE_MAX];
    CHECK(pipe(ends) == 0 && dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
    CHECK(!control_next(&control, 0, &command));
    say(ends[1], "sta");
    CHECK(!control_next(&control, 0, &command));
    say(ends[1], "rt\nrate 5\nst");
    CHECK(control_next(&control, 0, &command) && command.kind == COMMAND_START);
    CHECK(control_next(&control, 0, &command) && command.kind == COMMAND_RATE && command.pps == 5);
    CHECK(!control_next(&control, 0, &command));
    memset(long_line, 'x', sizeof(long_line));
    long_line[sizeof(long_line) - 1] = '\0';
    say(ends[1], long_line);
    CHECK(control_next(&control, 0, &command) && command.kind == COMMAND_BAD);
    while (control_next(&control, 0, &command))
        CHECK_EQ(command.kind, COMMAND_BAD);
    say(ends[1], "\nstop\n");
    CHECK(control_next(&control, 0, &command) && command.kind == COMMAND_BAD);
    CHECK(control_next(&control, 0, &command) && command.kind == COMMAND_STOP);
    close(ends[1]);
    CHECK(control_next(&control, 0, &command) && command.kind == COMMAND_STOP);
    CHECK(!control_next(&control, 0, &command));
}

int main(void)
{
    lines();
    input_arrives_in_any_pieces();
    return 0;
}
