/*
 * libFuzzer target: no packet makes an NF read or write outside it. Each input goes through every
 * NF, from a buffer of exactly its size.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>

#include "scalib/scalib.h"

#define NFS_MAX 16

static const char rules[] = "deny tcp any any 10.0.0.0/8 22\nallow udp any 1-9 any any\n"
                            "allow any 2001:db8::/32 any any any\ndefault deny\n";
static const char routes[] = "0.0.0.0/0 via 02:00:00:00:00:01 from 02:00:00:00:00:02\n"
                             "::/0 via 02:00:00:00:00:01\n10.0.0.0/24 drop\n";
static struct flexnfv_nf nfs[NFS_MAX];
static int count;

void flexnfv_register(const struct flexnfv_nf_ops *ops)
{
    if (count < NFS_MAX)
        nfs[count++].ops = ops;
}

/* Alone, there is no manager to launch any. */
int scalib_launch_nfs(struct flexnfv_nf_info *info, uint16_t num_nfs)
{
    (void)info;
    (void)num_nfs;
    return 0;
}

int flexnfv_fail(struct flexnfv_nf *nf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", nf->ops->name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

static void write_file(char path[], const char *text)
{
    int file = mkstemp(path);
    if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    close(file);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char *eal[] = {(*argv)[0], "--no-huge", "--no-shconf", "--no-pci",    "--no-telemetry", "-m",
                   "512",      "-l",        "0",           "--log-level", "error"};
    char rules_path[] = "/tmp/fuzz_rules_XXXXXX", routes_path[] = "/tmp/fuzz_routes_XXXXXX";
    char args[64];
    (void)argc;
    if (rte_eal_init(sizeof(eal) / sizeof(eal[0]), eal) < 0)
        abort();
    write_file(rules_path, rules);
    write_file(routes_path, routes);
    for (int i = 0; i < count; i++) {
        const char *name = nfs[i].ops->name;
        args[0] = '\0';
        if (strcmp(name, "firewall") == 0)
            snprintf(args, sizeof(args), "rules=%s", rules_path);
        else if (strcmp(name, "router") == 0)
            snprintf(args, sizeof(args), "routes=%s", routes_path);
        else if (strcmp(name, "nat") == 0)
            snprintf(args, sizeof(args), "inside=10.0.0.0/8 outside=192.0.2.1 connections=1000");
        else if (strcmp(name, "burn") == 0)
            snprintf(args, sizeof(args), "ns=0");
        if (nfs[i].ops->init && nfs[i].ops->init(&nfs[i], args) != 0)
            abort();
    }
    unlink(rules_path);
    unlink(routes_path);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int i = 0; i < count; i++) {
        struct rte_mbuf packet = {.nb_segs = 1, .data_len = (uint16_t)size};
        struct rte_mbuf *burst[1] = {&packet};
        packet.pkt_len = (uint32_t)size;
        packet.buf_addr = malloc(size ? size : 1);
        packet.buf_len = (uint16_t)size;
        if (!packet.buf_addr)
            abort();
        memcpy(packet.buf_addr, data, size);
        nfs[i].ops->process(&nfs[i], burst, 1);
        free(packet.buf_addr);
    }
    return 0;
}
