/* Keeps received packets as a capture (pcap, nanoseconds). The file appears whole or not at all. */
#ifndef PKTGEN_WRITER_H
#define PKTGEN_WRITER_H

#include "trace.h"

struct rte_mbuf;
struct writer;

/* NULL with a one-line reason in `error` when `path` exists or cannot be written. */
struct writer *writer_open(const char *path, char error[ERROR_MAX]);
void writer_add(struct writer *writer, const struct rte_mbuf *packet);

/* Puts the file in place; -1 with a reason when anything could not be written. */
int writer_close(struct writer *writer, char error[ERROR_MAX]);

#endif
