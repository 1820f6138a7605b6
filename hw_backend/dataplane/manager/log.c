#include "manager/log.h"

#include <stdarg.h>
#include <stdio.h>

void fx_log(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("manager: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int fx_fail(struct fx_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return -1;
}
