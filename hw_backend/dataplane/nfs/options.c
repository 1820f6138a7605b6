#include "nfs/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>

/* What stands for ',' and '=' in a value while rte_kvargs reads it: neither can be typed. */
enum { COMMA = '\x1f', EQUALS = '\x1e' };

/* rte_kvargs separates pairs by commas, and knows no comma and no second equals sign in a value. */
static void to_kvargs(char *text)
{
    bool in_value = false;
    for (; *text; text++) {
        if (*text == ' ' || *text == '\t') {
            *text = ',';
            in_value = false;
        } else if (*text == ',') {
            *text = COMMA;
        } else if (*text == '=') {
            if (in_value)
                *text = EQUALS;
            in_value = true;
        }
    }
}

static void from_kvargs(char *value)
{
    for (; *value; value++)
        *value = *value == COMMA ? ',' : *value == EQUALS ? '=' : *value;
}

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

static int take(struct flexnfv_nf *nf, const struct rte_kvargs_pair *pair,
                struct nf_option *options, int count)
{
    struct nf_option *option = find(options, count, pair->key);
    if (!option)
        return unknown(nf, pair->key, options, count);
    if (!pair->value || !*pair->value)
        return flexnfv_fail(nf, "option '%s' has no value; write %s=...", pair->key, pair->key);
    if (option->value == option->given)
        return flexnfv_fail(nf, "option '%s' is given twice", pair->key);
    snprintf(option->given, sizeof(option->given), "%s", pair->value);
    from_kvargs(option->given);
    option->value = option->given;
    return 0;
}

int nf_options_read(struct flexnfv_nf *nf, const char *args, struct nf_option *options, int count)
{
    char text[FX_ARGS_LENGTH];
    if (snprintf(text, sizeof(text), "%s", args) >= (int)sizeof(text))
        return flexnfv_fail(nf, "arguments longer than %d characters", FX_ARGS_LENGTH - 1);
    to_kvargs(text);
    struct rte_kvargs *pairs = rte_kvargs_parse(text, NULL);
    if (!pairs)
        return flexnfv_fail(nf, "more than %d arguments, or out of memory", RTE_KVARGS_MAX);
    int result = 0;
    for (unsigned int i = 0; i < pairs->count && result == 0; i++)
        result = take(nf, &pairs->pairs[i], options, count);
    rte_kvargs_free(pairs);
    return result;
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
