#include "nfs/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int unknown(struct flexnfv_nf *nf, const char *word, const struct nf_option *options,
                   int count)
{
    char known[FX_REASON_LENGTH] = "";
    for (int i = 0; i < count; i++)
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "",
                 options[i].name);
    return flexnfv_fail(nf, "no option '%s'; it takes %s, each as name=value", word, known);
}

static struct nf_option *find(struct nf_option *options, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

int nf_options_read(struct flexnfv_nf *nf, const char *args, struct nf_option *options, int count)
{
    char words[FX_ARGS_LENGTH];
    if (snprintf(words, sizeof(words), "%s", args) >= (int)sizeof(words))
        return flexnfv_fail(nf, "arguments longer than %d characters", FX_ARGS_LENGTH - 1);
    char *rest = words, *word;
    while ((word = strsep(&rest, " \t"))) {
        if (!*word)
            continue;
        char *value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        struct nf_option *option = find(options, count, word);
        if (!option)
            return unknown(nf, word, options, count);
        if (!value || !*value)
            return flexnfv_fail(nf, "option '%s' has no value; write %s=...", word, word);
        if (option->value == option->given)
            return flexnfv_fail(nf, "option '%s' is given twice", word);
        snprintf(option->given, sizeof(option->given), "%s", value);
        option->value = option->given;
    }
    return 0;
}

int64_t nf_options_number(struct flexnfv_nf *nf, const struct nf_option *option, int64_t low,
                          int64_t high)
{
    char *end;
    errno = 0;
    long long number = strtoll(option->value, &end, 10);
    if (errno || end == option->value || *end || number < low || number > high)
        return flexnfv_fail(nf, "%s=%s: give a whole number from %" PRId64 " to %" PRId64,
                            option->name, option->value, low, high);
    return number;
}
