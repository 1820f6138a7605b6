#include <string.h>

#include "check.h"
#include "parse.h"

/* A frame under construction, in a buffer of exactly its size once finished (see parse()). */
struct frame {
    uint8_t data[512];
    uint32_t len;
};

static void put(struct frame *frame, const void *bytes, uint32_t len)
{
    memcpy(frame->data + frame->len, bytes, len);
    frame->len += len;
}

static void put8(struct frame *frame, int value)
{
    uint8_t byte = (uint8_t)value;
    put(frame, &byte, 1);
}

static void put16(struct frame *frame, int value)
{
    put8(frame, value >> 8);
    put8(frame, value & 0xFF);
}

static void put_zeros(struct frame *frame, int count)
{
    while (count-- > 0)
        put8(frame, 0);
}

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xA1}, mac_b[6] = {2, 0, 0, 0, 0, 0xB2};
static const uint8_t ip_a[4] = {66, 9, 149, 187}, ip_b[4] = {161, 142, 100, 80};
static const uint8_t ip6_a[16] = {0x3f, 0xfe, 0x25, 1, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7};
static const uint8_t ip6_b[16] = {0x3f, 0xfe, 0x25, 1, 2, 0, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 9};

static struct frame ethernet(int type)
{
    struct frame frame = {.len = 0};
    put(&frame, mac_b, 6);
    put(&frame, mac_a, 6);
    put16(&frame, type);
    return frame;
}

static void put_ipv4(struct frame *frame, int proto, int total, int fragment)
{
    put16(frame, 0x4500);
    put16(frame, total);
    put16(frame, 1);
    put16(frame, fragment);
    put8(frame, 64);
    put8(frame, proto);
    put16(frame, 0);
    put(frame, ip_a, 4);
    put(frame, ip_b, 4);
}

static void put_ipv6(struct frame *frame, int next, int payload)
{
    put16(frame, 0x6000);
    put16(frame, 0);
    put16(frame, payload);
    put8(frame, next);
    put8(frame, 64);
    put(frame, ip6_a, 16);
    put(frame, ip6_b, 16);
}

static void put_udp(struct frame *frame, int sport, int dport, int payload)
{
    put16(frame, sport);
    put16(frame, dport);
    put16(frame, 8 + payload);
    put16(frame, 0);
    put_zeros(frame, payload);
}

static void put_tcp(struct frame *frame, int sport, int dport, int words)
{
    put16(frame, sport);
    put16(frame, dport);
    put_zeros(frame, 8);
    put8(frame, words << 4);
    put8(frame, 0x10);
    put_zeros(frame, 6);
}

/* Parses from a heap block of exactly the frame's size, so that ASan sees any byte read past it. */
static struct fx_flow parse(const struct frame *frame, uint32_t len)
{
    struct fx_flow flow;
    uint8_t *exact = malloc(len ? len : 1);
    CHECK(exact != NULL);
    memcpy(exact, frame->data, len);
    CHECK_EQ(fx_parse(exact, len, &flow), flow.class);
    free(exact);
    return flow;
}

/* Toeplitz by its definition, bit by bit, with a key of any length. */
static uint32_t toeplitz(const uint8_t *key, const uint8_t *input, int len)
{
    uint32_t hash = 0;
    for (int bit = 0; bit < len * 8; bit++) {
        if (!(input[bit / 8] >> (7 - bit % 8) & 1))
            continue;
        for (int k = 0; k < 32; k++)
            hash ^= (uint32_t)(key[(bit + k) / 8] >> (7 - (bit + k) % 8) & 1) << (31 - k);
    }
    return hash;
}

static uint32_t symmetric(const uint8_t *input, int len)
{
    uint8_t key[64];
    for (int i = 0; i < 64; i += 2) {
        key[i] = 0x6D;
        key[i + 1] = 0x5A;
    }
    return toeplitz(key, input, len);
}

/* Microsoft's published RSS key and vectors hold our definition; our definition holds the parser.
 */
static void hash_is_toeplitz(void)
{
    static const uint8_t microsoft[40] = {
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
        0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
        0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
    uint8_t input[12];
    memcpy(input, ip_a, 4);
    memcpy(input + 4, ip_b, 4);
    memcpy(input + 8, (uint8_t[]){2794 >> 8, 2794 & 0xFF, 1766 >> 8, 1766 & 0xFF}, 4);
    CHECK_EQ(toeplitz(microsoft, input, 12), 0x51ccc178);
    CHECK_EQ(toeplitz(microsoft, input, 8), 0x323e8fc2);

    struct frame frame = ethernet(0x0800);
    put_ipv4(&frame, 17, 28, 0);
    put_udp(&frame, 2794, 1766, 0);
    CHECK_EQ(parse(&frame, frame.len).hash, symmetric(input, 12));

    uint8_t input6[36];
    memcpy(input6, ip6_a, 16);
    memcpy(input6 + 16, ip6_b, 16);
    memcpy(input6 + 32, input + 8, 4);
    frame = ethernet(0x86DD);
    put_ipv6(&frame, 6, 20);
    put_tcp(&frame, 2794, 1766, 5);
    CHECK_EQ(parse(&frame, frame.len).hash, symmetric(input6, 36));

    for (int words = 0; words < 0x10000; words++)
        CHECK_EQ(fx_toeplitz((uint16_t)words),
                 symmetric((uint8_t[]){(uint8_t)(words >> 8), (uint8_t)words}, 2));
}

static void fields_of_a_udp_packet(void)
{
    struct frame frame = ethernet(0x0800);
    put_ipv4(&frame, 17, 32, 0);
    put_udp(&frame, 2794, 1766, 4);
    put_zeros(&frame, 14); /* Ethernet padding is not payload */
    struct fx_flow flow = parse(&frame, frame.len);
    CHECK_EQ(flow.class, FX_CLASS_PORTS);
    CHECK_EQ(flow.ip_version, 4);
    CHECK_EQ(flow.proto, 17);
    CHECK_EQ(flow.sport, 2794);
    CHECK_EQ(flow.dport, 1766);
    CHECK_EQ(flow.ethertype, 0x0800);
    CHECK_EQ(flow.l3, 14);
    CHECK_EQ(flow.l4, 34);
    CHECK_EQ(flow.payload, 42);
    CHECK_EQ(flow.end, 46);
    CHECK(memcmp(flow.src, ip_a, 4) == 0 && memcmp(flow.dst, ip_b, 4) == 0);
}

static void tcp_options_are_not_payload(void)
{
    struct frame frame = ethernet(0x0800);
    put_ipv4(&frame, 6, 20 + 24 + 3, 0);
    put_tcp(&frame, 1, 2, 6);
    put_zeros(&frame, 4 + 3);
    struct fx_flow flow = parse(&frame, frame.len);
    CHECK_EQ(flow.class, FX_CLASS_PORTS);
    CHECK_EQ(flow.payload - flow.l4, 24);
    CHECK_EQ(flow.end - flow.payload, 3);
}

static void fragments_of_a_datagram_stay_together(void)
{
    uint32_t hashes[3];
    int fragments[3] = {0x2000, 0x2001, 0x0002}; /* first, middle, last */
    for (int i = 0; i < 3; i++) {
        struct frame frame = ethernet(0x0800);
        put_ipv4(&frame, 17, 28, fragments[i]);
        put_udp(&frame, 9 * i, 7 * i, 0); /* bytes that are ports in the first one alone */
        struct fx_flow flow = parse(&frame, frame.len);
        CHECK_EQ(flow.class, FX_CLASS_FRAGMENT);
        CHECK_EQ(flow.sport, 0);
        hashes[i] = flow.hash;
    }
    CHECK(hashes[0] == hashes[1] && hashes[1] == hashes[2]);

    struct frame frame = ethernet(0x0800);
    put_ipv4(&frame, 17, 28, 0x4000); /* "don't fragment" makes no fragment */
    put_udp(&frame, 1, 2, 0);
    CHECK_EQ(parse(&frame, frame.len).class, FX_CLASS_PORTS);
}

static void protocols_without_ports_hash_addresses(void)
{
    uint8_t input[8];
    memcpy(input, ip_a, 4);
    memcpy(input + 4, ip_b, 4);
    struct frame frame = ethernet(0x0800);
    put_ipv4(&frame, 1, 28, 0); /* ICMP */
    put_zeros(&frame, 8);
    struct fx_flow flow = parse(&frame, frame.len);
    CHECK_EQ(flow.class, FX_CLASS_ADDRESSES);
    CHECK_EQ(flow.hash, symmetric(input, 8));
    CHECK_EQ(flow.payload, flow.l4);
}

static void vlan_tags_are_skipped_up_to_two(void)
{
    int outer[3] = {0x8100, 0x88A8, 0x9100};
    struct frame plain = ethernet(0x0800);
    put_ipv4(&plain, 17, 28, 0);
    put_udp(&plain, 5, 6, 0);
    for (int i = 0; i < 3; i++) {
        struct frame frame = ethernet(outer[i]);
        put16(&frame, 7);
        put16(&frame, 0x8100);
        put16(&frame, 8);
        put16(&frame, 0x0800);
        put_ipv4(&frame, 17, 28, 0);
        put_udp(&frame, 5, 6, 0);
        struct fx_flow flow = parse(&frame, frame.len);
        CHECK_EQ(flow.class, FX_CLASS_PORTS);
        CHECK_EQ(flow.vlans, 2);
        CHECK_EQ(flow.l3, 22);
        CHECK_EQ(flow.hash, parse(&plain, plain.len).hash);
    }
    struct frame deep = ethernet(0x8100);
    for (int i = 0; i < 2; i++) {
        put16(&deep, i);
        put16(&deep, 0x8100);
    }
    put_zeros(&deep, 30);
    CHECK_EQ(parse(&deep, deep.len).class, FX_CLASS_OTHER);
}

static void arp_request_and_reply_agree(void)
{
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    struct frame request = ethernet(0x0806);
    put(&request, head, 6);
    put16(&request, 1);
    put(&request, mac_a, 6);
    put(&request, ip_a, 4);
    put_zeros(&request, 6);
    put(&request, ip_b, 4);
    struct frame reply = ethernet(0x0806);
    put(&reply, head, 6);
    put16(&reply, 2);
    put(&reply, mac_b, 6);
    put(&reply, ip_b, 4);
    put(&reply, mac_a, 6);
    put(&reply, ip_a, 4);
    struct fx_flow flow = parse(&request, request.len);
    CHECK_EQ(flow.class, FX_CLASS_ARP);
    CHECK_EQ(flow.hash, parse(&reply, reply.len).hash);
}

static void other_frames_hash_addresses_and_type(void)
{
    struct frame frame = ethernet(0x88CC);
    put_zeros(&frame, 46);
    struct fx_flow lldp = parse(&frame, frame.len);
    CHECK_EQ(lldp.class, FX_CLASS_OTHER);
    CHECK_EQ(lldp.hash, symmetric(frame.data, 14));

    struct frame longer = ethernet(300), shorter = ethernet(40); /* 802.3: the length is no type */
    put_zeros(&longer, 300);
    put_zeros(&shorter, 46);
    CHECK_EQ(parse(&longer, longer.len).hash, parse(&shorter, shorter.len).hash);
}

/* Hop-by-hop, authentication and a fragment header that makes no fragment, then UDP. */
static struct frame extended(uint32_t *fragment)
{
    struct frame frame = ethernet(0x86DD);
    put_ipv6(&frame, 0, 16 + 24 + 8 + 8);
    put8(&frame, 51);
    put8(&frame, 1);
    put_zeros(&frame, 14);
    put8(&frame, 44); /* an authentication header counts words of 4 bytes, less 2 */
    put8(&frame, 4);
    put_zeros(&frame, 22);
    *fragment = frame.len;
    put8(&frame, 17);
    put_zeros(&frame, 7);
    put_udp(&frame, 53, 99, 0);
    return frame;
}

static void extension_headers_are_walked(void)
{
    uint32_t fragment;
    struct frame frame = extended(&fragment);
    struct fx_flow flow = parse(&frame, frame.len);
    CHECK_EQ(flow.class, FX_CLASS_PORTS);
    CHECK_EQ(flow.sport, 53);
    CHECK_EQ(flow.proto, 17);
    frame.data[fragment + 3] = 1; /* more fragments */
    flow = parse(&frame, frame.len);
    CHECK_EQ(flow.class, FX_CLASS_FRAGMENT);
    CHECK_EQ(flow.sport, 0);
}

static void extension_headers_are_bounded(void)
{
    for (int count = FX_EXT_MAX; count <= FX_EXT_MAX + 1; count++) {
        struct frame frame = ethernet(0x86DD);
        put_ipv6(&frame, 60, 8 * count + 8);
        for (int i = 0; i < count; i++) {
            put8(&frame, i + 1 < count ? 60 : 17);
            put_zeros(&frame, 7);
        }
        put_udp(&frame, 1, 2, 0);
        CHECK_EQ(parse(&frame, frame.len).class,
                 count <= FX_EXT_MAX ? FX_CLASS_PORTS : FX_CLASS_ADDRESSES);
    }
}

static void malformed_headers_are_told_apart(void)
{
    struct frame sound = ethernet(0x0800);
    put_ipv4(&sound, 6, 40, 0);
    put_tcp(&sound, 1, 2, 5);
    CHECK_EQ(parse(&sound, sound.len).class, FX_CLASS_PORTS);
    static const struct {
        int at, value;
        enum fx_class class;
    } cases[] = {
        {14, 0x65, FX_CLASS_MALFORMED},   /* version 6 behind IPv4's type */
        {14, 0x44, FX_CLASS_MALFORMED},   /* a header of 16 bytes */
        {14, 0x4F, FX_CLASS_MALFORMED},   /* a header longer than the packet */
        {17, 19, FX_CLASS_MALFORMED},     /* a total length below the header's */
        {17, 41, FX_CLASS_TRUNCATED},     /* a byte is missing */
        {17, 39, FX_CLASS_TRUNCATED},     /* the TCP header is cut */
        {46, 4 << 4, FX_CLASS_MALFORMED}, /* a TCP header of 16 bytes */
        {46, 6 << 4, FX_CLASS_TRUNCATED}, /* TCP options are cut */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame frame = sound;
        frame.data[cases[i].at] = (uint8_t)cases[i].value;
        CHECK_EQ(parse(&frame, frame.len).class, cases[i].class);
    }
    struct frame udp = ethernet(0x0800);
    put_ipv4(&udp, 17, 28, 0);
    put_udp(&udp, 1, 2, 0);
    udp.data[39] = 7; /* a UDP length below its own header */
    CHECK_EQ(parse(&udp, udp.len).class, FX_CLASS_MALFORMED);
    CHECK(fx_class_is_unsound(FX_CLASS_MALFORMED) && !fx_class_is_unsound(FX_CLASS_OTHER));
}

/* Cut anywhere, a packet is truncated, and from the ports on it still goes with its flow. */
static void every_prefix_is_truncated(void)
{
    uint32_t fragment;
    struct frame frames[4] = {ethernet(0x0800), ethernet(0x86DD), ethernet(0x88A8),
                              extended(&fragment)};
    put_ipv4(&frames[0], 6, 40, 0);
    put_tcp(&frames[0], 1, 2, 5);
    put_ipv6(&frames[1], 17, 8);
    put_udp(&frames[1], 1, 2, 0);
    put16(&frames[2], 1);
    put16(&frames[2], 0x8100);
    put16(&frames[2], 2);
    put16(&frames[2], 0x0800);
    put_ipv4(&frames[2], 132, 32, 0);
    put16(&frames[2], 1);
    put16(&frames[2], 2);
    put_zeros(&frames[2], 8);
    uint32_t ports_end[4] = {38, 58, 46, fragment + 12};
    for (int i = 0; i < 4; i++) {
        struct fx_flow sound = parse(&frames[i], frames[i].len);
        CHECK_EQ(sound.class, FX_CLASS_PORTS);
        CHECK_EQ(parse(&frames[i], 0).class, FX_CLASS_EMPTY);
        for (uint32_t len = 1; len < frames[i].len; len++) {
            struct fx_flow flow = parse(&frames[i], len);
            CHECK_EQ(flow.class, FX_CLASS_TRUNCATED);
            CHECK((flow.hash == sound.hash) == (len >= ports_end[i]));
        }
    }
}

static void oversize_frames_are_not_looked_at(void)
{
    static uint8_t jumbo[FX_FRAME_MAX + 1] = {[12] = 0x88, [13] = 0xCC};
    struct fx_flow flow;
    CHECK_EQ(fx_parse(jumbo, FX_FRAME_MAX, &flow), FX_CLASS_OTHER);
    CHECK_EQ(fx_parse(jumbo, FX_FRAME_MAX + 1, &flow), FX_CLASS_OVERSIZE);
    CHECK_EQ(flow.hash, 0);
}

static uint32_t random_word(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(state >> 33);
}

/* Sound TCP and UDP over IPv4, with up to three bytes changed and the end cut off at times. */
static struct frame nearly_usual(void)
{
    struct frame frame = ethernet(0x0800);
    bool tcp = random_word() % 2;
    put_ipv4(&frame, tcp ? 6 : 17, 20 + 32, 0);
    put16(&frame, (int)(random_word() & 0xFFFF));
    put16(&frame, (int)(random_word() & 0xFFFF));
    put16(&frame, 32);
    put_zeros(&frame, 6);
    put8(&frame, 0x50);
    put_zeros(&frame, 19);
    for (uint32_t changes = random_word() % 4; changes > 0; changes--)
        frame.data[12 + random_word() % 36] = (uint8_t)(random_word() % 2 ? random_word() : 0x45);
    if (random_word() % 4 == 0)
        frame.len = 14 + random_word() % (frame.len - 13);
    return frame;
}

/* The usual packets have a shorter way through the parser, which no tagged one takes. */
static void a_tag_changes_nothing_but_offsets(void)
{
    uint32_t usual = 0, tagged_usual = 0;
    for (int i = 0; i < 200000; i++) {
        struct frame plain = nearly_usual();
        if (plain.data[12] != 0x08 || plain.data[13] != 0)
            continue;
        struct frame tagged = {.len = plain.len + 4};
        static const uint8_t tag[4] = {0x81, 0, 0, 7};
        memcpy(tagged.data, plain.data, 12);
        memcpy(tagged.data + 12, tag, 4);
        memcpy(tagged.data + 16, plain.data + 12, plain.len - 12);
        struct fx_flow one = parse(&plain, plain.len), other = parse(&tagged, tagged.len);
        CHECK_EQ(other.vlans, 1);
        CHECK_EQ(one.class, other.class);
        CHECK_EQ(one.hash, other.hash);
        CHECK_EQ(one.sport, other.sport);
        CHECK_EQ(one.dport, other.dport);
        CHECK_EQ(one.proto, other.proto);
        CHECK_EQ(one.ip_version, other.ip_version);
        CHECK_EQ(one.ethertype, other.ethertype);
        CHECK(memcmp(one.src, other.src, 32) == 0);
        CHECK_EQ(one.l3 + 4, other.l3);
        CHECK_EQ(one.l4 ? one.l4 + 4 : 0, other.l4);
        CHECK_EQ(one.payload ? one.payload + 4 : 0, other.payload);
        CHECK_EQ(one.end + 4, other.end);
        usual += one.class == FX_CLASS_PORTS;
        tagged_usual += other.class == FX_CLASS_PORTS;
    }
    CHECK(usual > 50000 && usual == tagged_usual);
}

int main(void)
{
    hash_is_toeplitz();
    fields_of_a_udp_packet();
    tcp_options_are_not_payload();
    fragments_of_a_datagram_stay_together();
    protocols_without_ports_hash_addresses();
    vlan_tags_are_skipped_up_to_two();
    arp_request_and_reply_agree();
    other_frames_hash_addresses_and_type();
    extension_headers_are_walked();
    extension_headers_are_bounded();
    malformed_headers_are_told_apart();
    every_prefix_is_truncated();
    oversize_frames_are_not_looked_at();
    a_tag_changes_nothing_but_offsets();
    return 0;
}
