#include "nfs/lines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_LENGTH 256

int nf_line_fail(struct flexnfv_nf *nf, const struct nf_line *line, const char *format, ...)
{
    char reason[FX_REASON_LENGTH];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    return flexnfv_fail(nf, "%s:%d: %s", line->path, line->number, reason);
}

static int split(struct flexnfv_nf *nf, char *text, struct nf_line *line)
{
    char *comment = strchr(text, '#'), *rest = text, *word;
    if (comment)
        *comment = '\0';
    line->count = 0;
    while ((word = strsep(&rest, " \t\r\n"))) {
        if (!*word)
            continue;
        if (line->count == NF_WORDS_MAX)
            return nf_line_fail(nf, line, "more than %d words", NF_WORDS_MAX);
        line->words[line->count++] = word;
    }
    return 0;
}

int nf_lines_read(struct flexnfv_nf *nf, const char *path,
                  int (*take)(struct flexnfv_nf *nf, void *context, const struct nf_line *line),
                  void *context)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return flexnfv_fail(nf, "%s: %s", path, strerror(errno));
    char text[LINE_MAX_LENGTH];
    struct nf_line line = {.path = path};
    int result = 0;
    while (result == 0 && fgets(text, sizeof(text), file)) {
        line.number++;
        if (!strchr(text, '\n') && !feof(file))
            result = nf_line_fail(nf, &line, "longer than %d characters", LINE_MAX_LENGTH - 2);
        else
            result = split(nf, text, &line);
        if (result == 0 && line.count > 0)
            result = take(nf, context, &line);
    }
    if (result == 0 && ferror(file))
        result = flexnfv_fail(nf, "%s: cannot be read (is it a folder?)", path);
    fclose(file);
    return result;
}

int nf_prefix_read(const char *text, struct nf_prefix *prefix)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof(address))
        return -1;
    memset(prefix, 0, sizeof(*prefix));
    memcpy(address, text, len);
    address[len] = '\0';
    if (inet_pton(AF_INET, address, prefix->address) == 1)
        prefix->version = 4;
    else if (inet_pton(AF_INET6, address, prefix->address) == 1)
        prefix->version = 6;
    else
        return -1;

    int bits = prefix->version == 4 ? 32 : 128;
    char *end = NULL;
    long length = slash ? strtol(slash + 1, &end, 10) : bits;
    if (slash && (end == slash + 1 || *end || slash[1] == '-' || slash[1] == '+'))
        return -1;
    if (length < 0 || length > bits)
        return -1;
    prefix->length = (uint8_t)length;
    for (int bit = (int)length; bit < bits; bit++)
        if (prefix->address[bit / 8] & (0x80 >> bit % 8))
            return -1;
    return 0;
}
