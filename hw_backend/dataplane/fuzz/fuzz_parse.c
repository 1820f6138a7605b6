/*
 * libFuzzer target: whatever the bytes, the parser stays inside them and keeps its promises about
 * offsets; and swapping a connection's ends does not change its hash.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static void swap(uint8_t *a, uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

static void check_symmetry(const uint8_t *data, uint32_t size, const struct fx_flow *flow)
{
    uint8_t *answer = malloc(size);
    HOLDS(answer != NULL);
    memcpy(answer, data, size);
    uint8_t *l3 = answer + flow->l3;
    if (flow->ip_version == 4)
        swap(l3 + 12, l3 + 16, 4);
    else
        swap(l3 + 8, l3 + 24, 16);
    if (flow->class == FX_CLASS_PORTS)
        swap(answer + flow->l4, answer + flow->l4 + 2, 2);
    struct fx_flow back;
    HOLDS(fx_parse(answer, size, &back) == flow->class);
    HOLDS(back.hash == flow->hash);
    HOLDS(back.sport == flow->dport && memcmp(back.src, flow->dst, sizeof(back.src)) == 0);
    free(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fx_flow flow;
    enum fx_class class = fx_parse(data, (uint32_t)size, &flow);
    HOLDS(class < FX_CLASS_COUNT && class == flow.class);
    HOLDS(flow.end <= size && flow.l3 <= size);
    HOLDS(flow.l4 == 0 || (flow.l4 > flow.l3 && flow.l4 <= flow.end));
    HOLDS(flow.payload == 0 || (flow.payload >= flow.l4 && flow.payload <= flow.end));
    HOLDS(flow.vlans <= FX_VLAN_MAX);
    if (class == FX_CLASS_PORTS || class == FX_CLASS_ADDRESSES || class == FX_CLASS_FRAGMENT)
        check_symmetry(data, (uint32_t)size, &flow);
    return 0;
}
