/* How the generator ends on bad input: one line on standard error, exit code 2. */
#ifndef PKTGEN_FAIL_H
#define PKTGEN_FAIL_H

#define EXIT_BAD_INPUT 2

/* Prints "flexnfv-pktgen: <message>" and exits with EXIT_BAD_INPUT; for use before a port is open.
 */
void bad_input(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
