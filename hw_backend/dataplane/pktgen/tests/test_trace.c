/* Traces that can be used, and the reason for each that cannot. */
#include "check.h"
#include "trace.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static char path[] = "trace-XXXXXX";

static int read_text(struct trace *trace, const char *text, char error[ERROR_MAX])
{
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    error[0] = '\0';
    return trace_read(trace, path, error);
}

static void good_traces(void)
{
    struct trace trace;
    char error[ERROR_MAX];
    CHECK_EQ(read_text(&trace, "t_s,pps\n0,10\n0.5,20\n1,0\n", error), 0);
    CHECK(trace.count == 3 && trace.step_s == 0.5 && trace.peak_pps == 20 && trace.largest == 0);
    trace_free(&trace);
    CHECK_EQ(read_text(&trace, "t_s,pps,packet_bytes\r\n5,1,64\r\n6,2,1517.9\r\n\r\n", error), 0);
    CHECK(trace.count == 2 && trace.samples[0].size == 64 && trace.largest == 1518);
    trace_free(&trace);
    CHECK_EQ(read_text(&trace, "t_s,pps\n0,1\n0.333,2\n0.667,3\n1,4\n", error), 0);
    CHECK(fabs(trace.step_s - 1.0 / 3) < 1e-9);
    trace_free(&trace);
}

static void bad_traces(void)
{
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"", "empty"},
        {"t_s,pps\n", "0 samples"},
        {"t_s,pps\n0,1\n", "1 sample;"},
        {"t_s,bps\n0,1\n1,1\n", ":1: the header is 't_s,bps'"},
        {"0,1\n1,2\n", ":1: the header"},
        {"t_s,pps\n0,1\n1\n", ":3: '1' is no sample"},
        {"t_s,pps\n0,1\n1,\n", ":3: '1,' is no sample"},
        {"t_s,pps\n0,1\n1,2,3\n", ":3: '1,2,3' is no sample"},
        {"t_s,pps\n0,1\n1,x\n", ":3: '1,x' is no sample"},
        {"t_s,pps\n0,1\n1,nan\n", ":3: '1,nan' is no sample"},
        {"t_s,pps\n0,inf\n1,1\n", ":2: '0,inf' is no sample"},
        {"t_s,pps\nnan,1\n1,1\n", ":2: 'nan,1' is no sample"},
        {"t_s,pps\n0,1\n1,-2\n", ":3: a rate of -2"},
        {"t_s,pps\n0,1\n1,2e9\n", ":3: a rate of 2e+09"},
        {"t_s,pps\n0,1\n1,1\n3,1\n", ":4: a gap"},
        {"t_s,pps\n0,1\n2,1\n1,1\n", ":4: out of order"},
        {"t_s,pps\n0,1\n1,1\n1,1\n", ":4: out of order"},
        {"t_s,pps,packet_bytes\n0,1,64\n1,1,63\n", ":3: a size of 63"},
        {"t_s,pps,packet_bytes\n0,1,64\n1,1,9729\n", ":3: a size of 9729"},
        {"t_s,pps,packet_bytes\n0,1\n", ":2: '0,1' is no sample"},
    };
    struct trace trace;
    char error[ERROR_MAX];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (read_text(&trace, rows[i].text, error) == 0 || !strstr(error, rows[i].reason)) {
            fprintf(stderr, "'%s' gave '%s'\n", rows[i].text, error);
            exit(1);
        }
        CHECK(trace.samples == NULL);
    }
    CHECK(trace_read(&trace, ".", error) != 0);
    CHECK(trace_read(&trace, "no-such-trace", error) != 0 && strstr(error, "No such file"));
}

int main(void)
{
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    good_traces();
    bad_traces();
    CHECK(unlink(path) == 0);
    return 0;
}
