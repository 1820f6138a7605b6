#include "fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void bad_input(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("flexnfv-pktgen: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_BAD_INPUT);
}
