/* Run to completion: which functions a packet of a burst meets, in which order, with which args. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "scalib/process.h"

static char said[256]; /* what the functions did, in order */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(said + strlen(said), sizeof(said) - strlen(said), format, args);
    va_end(args);
}

int flexnfv_fail(struct flexnfv_nf *nf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(nf->process->reason, sizeof(nf->process->reason), format, args);
    va_end(args);
    return -1;
}

/* A function that marks what it sees in the packet's length, and drops the length it is told. */
static int init(struct flexnfv_nf *nf, const char *args)
{
    say("+%s(%s)", nf->type_name, args);
    if (strcmp(args, "refuse") == 0)
        return flexnfv_fail(nf, "no such option");
    nf->state = (void *)(args[0] ? (uintptr_t)atoi(args) : 0);
    return 0;
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        packets[i]->pkt_len = packets[i]->pkt_len * 10 + nf->info.type + 1;
        if (packets[i]->pkt_len == (uintptr_t)nf->state)
            flexnfv_drop(packets[i]);
    }
    say(" %s:%u", nf->type_name, count);
}

static void teardown(struct flexnfv_nf *nf)
{
    say("-%s", nf->type_name);
}

static const struct flexnfv_nf_ops mark = {
    .name = "mark", .init = init, .process = process, .teardown = teardown};
static const struct flexnfv_nf_ops pass = {.name = "pass", .process = process};

const struct flexnfv_nf_ops *flexnfv_find(const char *name)
{
    return strcmp(name, "mark") == 0 ? &mark : strcmp(name, "pass") == 0 ? &pass : NULL;
}

static struct fx_shared shared;
static struct fx_process_slot own;
static struct rte_mbuf packet[FX_BURST];
static struct rte_mbuf *burst[FX_BURST];

/* Types A, B and C; one chain takes packets through A, B, C, another through C, A. */
static struct flexnfv_nf three(const char *a, const char *b, const char *c)
{
    memset(&shared, 0, sizeof(shared));
    shared.types = 3;
    shared.chains = 2;
    const char *const args[] = {a, b, c};
    for (int t = 0; t < 3; t++) {
        snprintf(shared.type[t].name, sizeof(shared.type[t].name), "%c", 'A' + t);
        snprintf(shared.type[t].function, sizeof(shared.type[t].function), "mark");
        snprintf(shared.type[t].args, sizeof(shared.type[t].args), "%s", args[t]);
    }
    shared.chain[0] = (struct fx_shared_chain){3, {0, 1, 2}};
    shared.chain[1] = (struct fx_shared_chain){2, {2, 0}};
    said[0] = '\0';
    return (struct flexnfv_nf){.ops = fx_replica(&shared), .process = &own};
}

static void fill(uint16_t count, uint32_t chain)
{
    for (uint16_t i = 0; i < count; i++) {
        packet[i] = (struct rte_mbuf){.pkt_len = 0};
        packet[i].hash.fdir.hi = chain;
        burst[i] = &packet[i];
    }
}

static void heard(const char *wanted)
{
    if (strcmp(said, wanted) != 0) {
        fprintf(stderr, "heard '%s', not '%s'\n", said, wanted);
        CHECK(0);
    }
    said[0] = '\0';
}

static void stages_start_in_order_and_end_in_reverse(void)
{
    struct flexnfv_nf nf = three("1", "", "x y");
    CHECK(nf.ops->init(&nf, shared.type[0].args) == 0);
    heard("+A(1)+B()+C(x y)");
    nf.ops->teardown(&nf);
    heard("-C-B-A");
}

static void an_instance_may_have_other_args_for_its_own_type(void)
{
    struct flexnfv_nf nf = three("1", "2", "3");
    CHECK(nf.ops->init(&nf, "other") == 0);
    nf.ops->teardown(&nf);
    heard("+A(other)+B(2)+C(3)-C-B-A");
}

static void a_stage_that_refuses_is_named_and_those_before_end(void)
{
    struct flexnfv_nf nf = three("", "refuse", "");
    CHECK(nf.ops->init(&nf, "") != 0);
    CHECK(strcmp(own.reason, "B: no such option") == 0);
    heard("+A()+B(refuse)-A");
    nf = three("", "", "");
    strcpy(shared.type[2].function, "nothing");
    CHECK(nf.ops->init(&nf, "") != 0);
    CHECK(strcmp(own.reason, "C: there is no NF function 'nothing'") == 0);
    heard("+A()+B()-B-A");
}

static void functions_without_init_and_teardown_are_stages_too(void)
{
    struct flexnfv_nf nf = three("", "", "");
    strcpy(shared.type[1].function, "pass");
    CHECK(nf.ops->init(&nf, "") == 0);
    fill(1, 0);
    nf.ops->process(&nf, burst, 1);
    nf.ops->teardown(&nf);
    heard("+A()+C() A:1 B:1 C:1-C-A");
    CHECK_EQ(packet[0].pkt_len, 123);
}

static void packets_pass_the_functions_of_their_own_chain_in_its_order(void)
{
    struct flexnfv_nf nf = three("", "", "");
    CHECK(nf.ops->init(&nf, "") == 0);
    said[0] = '\0';
    fill(FX_BURST, 0);
    packet[3].hash.fdir.hi = packet[FX_BURST - 1].hash.fdir.hi = 1;
    nf.ops->process(&nf, burst, FX_BURST);
    heard(" A:62 B:62 C:62 C:2 A:2");
    for (int i = 0; i < FX_BURST; i++) {
        CHECK_EQ(packet[i].pkt_len, i == 3 || i == FX_BURST - 1 ? 31 : 123);
        CHECK(burst[i] == &packet[i]);
    }
    fill(5, 1); /* none for the first chain: nobody is called with nothing */
    nf.ops->process(&nf, burst, 5);
    heard(" C:5 A:5");
    nf.ops->teardown(&nf);
}

static void later_stages_do_not_see_what_one_dropped(void)
{
    struct flexnfv_nf nf = three("71", "", ""); /* A drops what came with length 7 */
    CHECK(nf.ops->init(&nf, shared.type[0].args) == 0);
    said[0] = '\0';
    fill(4, 0);
    packet[0].pkt_len = packet[2].pkt_len = 7;
    nf.ops->process(&nf, burst, 4);
    heard(" A:4 B:2 C:2");
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(packet[i].pkt_len, i % 2 ? 123 : 71);
        CHECK(!!(packet[i].hash.fdir.hi & FX_META_DROP) == !(i % 2));
        CHECK(burst[i] == &packet[i]);
    }
    fill(3, 0);
    for (int i = 0; i < 3; i++)
        packet[i].pkt_len = 7;
    nf.ops->process(&nf, burst, 3); /* all of them */
    heard(" A:3");
    nf.ops->teardown(&nf);
}

int main(void)
{
    stages_start_in_order_and_end_in_reverse();
    an_instance_may_have_other_args_for_its_own_type();
    a_stage_that_refuses_is_named_and_those_before_end();
    functions_without_init_and_teardown_are_stages_too();
    packets_pass_the_functions_of_their_own_chain_in_its_order();
    later_stages_do_not_see_what_one_dropped();
    return 0;
}
