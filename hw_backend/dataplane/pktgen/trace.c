#include "trace.h"

#include "sizes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A step this far from the first one, relatively, is a gap rather than rounding. */
#define STEP_TOLERANCE 0.01

struct reader {
    const char *path;
    FILE *file;
    char *line;
    size_t room;
    size_t number;
    bool sized;
    double first_s;
    double before_s;
};

static ssize_t next_line(struct reader *reader)
{
    ssize_t length = getline(&reader->line, &reader->room, reader->file);
    if (length < 0)
        return -1;
    reader->number++;
    while (length > 0 && strchr("\r\n \t", reader->line[length - 1]))
        reader->line[--length] = '\0';
    return length;
}

static int read_header(struct reader *reader, char *error)
{
    ssize_t length = next_line(reader);
    if (length < 0 && ferror(reader->file)) {
        snprintf(error, ERROR_MAX, "%s: %s", reader->path, strerror(errno));
        return -1;
    }
    if (length < 0) {
        snprintf(error, ERROR_MAX, "%s: empty; give a CSV with the header t_s,pps", reader->path);
        return -1;
    }
    reader->sized = strcmp(reader->line, "t_s,pps,packet_bytes") == 0;
    if (reader->sized || strcmp(reader->line, "t_s,pps") == 0)
        return 0;
    snprintf(error, ERROR_MAX, "%s:1: the header is '%.60s'; give t_s,pps or t_s,pps,packet_bytes",
             reader->path, reader->line);
    return -1;
}

/* Parses the finite number at *text and the separator behind it. */
static bool take_number(char **text, char separator, double *value)
{
    char *end;
    *value = strtod(*text, &end);
    if (end == *text || *end != separator || !isfinite(*value))
        return false;
    *text = end + (separator != '\0');
    return true;
}

static int parse_sample(struct reader *reader, double *t_s, struct trace_sample *sample,
                        char *error)
{
    char *text = reader->line;
    double size = 0;
    if (!take_number(&text, ',', t_s) ||
        !take_number(&text, reader->sized ? ',' : '\0', &sample->pps) ||
        (reader->sized && !take_number(&text, '\0', &size))) {
        snprintf(error, ERROR_MAX, "%s:%zu: '%.60s' is no sample; give finite numbers for %s",
                 reader->path, reader->number, reader->line,
                 reader->sized ? "t_s,pps,packet_bytes" : "t_s,pps");
        return -1;
    }
    if (sample->pps < 0 || sample->pps > TRACE_PPS_MAX) {
        snprintf(error, ERROR_MAX, "%s:%zu: a rate of %g packets/s; give 0 to %g", reader->path,
                 reader->number, sample->pps, TRACE_PPS_MAX);
        return -1;
    }
    if (reader->sized && (size < SIZE_MIN || size > SIZE_MAX_FRAME)) {
        snprintf(error, ERROR_MAX, "%s:%zu: a size of %g bytes; give %d to %d", reader->path,
                 reader->number, size, SIZE_MIN, SIZE_MAX_FRAME);
        return -1;
    }
    sample->size = (uint16_t)lround(size);
    return 0;
}

static int check_step(struct trace *trace, struct reader *reader, double t_s, char *error)
{
    double step = t_s - reader->before_s;
    if (trace->count == 0)
        reader->first_s = t_s;
    else if (step <= 0) {
        snprintf(error, ERROR_MAX, "%s:%zu: out of order: %g s after %g s", reader->path,
                 reader->number, t_s, reader->before_s);
        return -1;
    } else if (trace->count == 1)
        trace->step_s = step;
    else if (fabs(step - trace->step_s) > STEP_TOLERANCE * trace->step_s) {
        snprintf(error, ERROR_MAX,
                 "%s:%zu: a gap: %g s after the sample before, where the first two are %g s apart; "
                 "resample the trace evenly",
                 reader->path, reader->number, step, trace->step_s);
        return -1;
    }
    reader->before_s = t_s;
    return 0;
}

static int append(struct trace *trace, size_t *room, struct trace_sample sample, char *error)
{
    if (trace->count == *room) {
        size_t wanted = *room ? 2 * *room : 1024;
        struct trace_sample *samples = realloc(trace->samples, wanted * sizeof(sample));
        if (!samples) {
            snprintf(error, ERROR_MAX, "no memory for a trace of %zu samples", wanted);
            return -1;
        }
        trace->samples = samples;
        *room = wanted;
    }
    trace->samples[trace->count++] = sample;
    trace->peak_pps = fmax(trace->peak_pps, sample.pps);
    if (sample.size > trace->largest)
        trace->largest = sample.size;
    return 0;
}

static int read_samples(struct trace *trace, struct reader *reader, char *error)
{
    size_t room = 0;
    ssize_t length;
    while ((length = next_line(reader)) >= 0) {
        struct trace_sample sample;
        double t_s;
        if (length == 0)
            continue;
        if (parse_sample(reader, &t_s, &sample, error) || check_step(trace, reader, t_s, error) ||
            append(trace, &room, sample, error))
            return -1;
    }
    if (ferror(reader->file)) {
        snprintf(error, ERROR_MAX, "%s: %s", reader->path, strerror(errno));
        return -1;
    }
    if (trace->count < 2) {
        snprintf(error, ERROR_MAX, "%s: %zu sample%s; a trace needs two or more", reader->path,
                 trace->count, trace->count == 1 ? "" : "s");
        return -1;
    }
    /* The mean step: the file may have rounded each time stamp. */
    trace->step_s = (reader->before_s - reader->first_s) / (double)(trace->count - 1);
    return 0;
}

int trace_read(struct trace *trace, const char *path, char error[ERROR_MAX])
{
    struct reader reader = {.path = path, .file = fopen(path, "r")};
    *trace = (struct trace){0};
    if (!reader.file) {
        snprintf(error, ERROR_MAX, "%s: %s", path, strerror(errno));
        return -1;
    }
    int result = read_header(&reader, error) || read_samples(trace, &reader, error) ? -1 : 0;
    if (result)
        trace_free(trace);
    free(reader.line);
    fclose(reader.file);
    return result;
}

void trace_free(struct trace *trace)
{
    free(trace->samples);
    *trace = (struct trace){0};
}
