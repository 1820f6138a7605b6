/*
 * encryptor: AES-128-CTR over the payload of every TCP, UDP and SCTP packet, in place (the paper's
 * NF3). Headers, checksums and lengths stay as they are, so the same key turns the packet back.
 *
 * The counter block is laid out as in RFC 3686: a nonce of 4 bytes, an IV of 8, and a block counter
 * of 4 that starts at 1. A packet has no room to carry an IV, so both come from its headers:
 * nonce = the nonce option XOR all 32-bit words of source and destination address; IV = the first 8
 * bytes of the transport header. Two packets with the same of both share a key stream.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include "common/parse.h"
#include "nfs/options.h"
#include "scalib/scalib.h"

#define KEY_LEN       16
#define NONCE_LEN     4
#define PACKET_IV_LEN 8
#define IV_LEN        (NONCE_LEN + PACKET_IV_LEN)        /* ipsec_mb adds the counter, from 1 */
#define EXAMPLE_KEY   "000102030405060708090a0b0c0d0e0f" /* FIPS 197, appendix C.1 */

struct encryptor {
    uint8_t schedule[16 * 11] __attribute__((aligned(16)));
    uint8_t unused_schedule[16 * 11]
        __attribute__((aligned(16))); /* for decryption; CTR has none */
    IMB_JOB jobs[FX_BURST];
    uint8_t ivs[FX_BURST][IV_LEN];
    IMB_MGR *mb;
    uint8_t nonce[NONCE_LEN];
    bool drop_others;
    uint64_t encrypted;
    uint64_t others;
};

/* Exactly 2 * len hexadecimal digits. */
static int read_hex(struct flexnfv_nf *nf, const struct nf_option *option, uint8_t *bytes, int len)
{
    const char *text = option->value;
    bool sound = strlen(text) == 2 * (size_t)len;
    for (int i = 0; sound && i < 2 * len; i++)
        sound = isxdigit((unsigned char)text[i]) != 0;
    if (!sound)
        return flexnfv_fail(nf, "%s: give %d hexadecimal digits", option->name, 2 * len);
    for (int i = 0; i < len; i++)
        sscanf(text + (ptrdiff_t)2 * i, "%2hhx", &bytes[i]);
    return 0;
}

/* What every job of this NF has in common. */
static void prepare_jobs(struct encryptor *encryptor)
{
    for (int i = 0; i < FX_BURST; i++) {
        IMB_JOB *job = &encryptor->jobs[i];
        job->cipher_mode = IMB_CIPHER_CNTR;
        job->cipher_direction = IMB_DIR_ENCRYPT;
        job->hash_alg = IMB_AUTH_NULL;
        job->chain_order = IMB_ORDER_CIPHER_HASH;
        job->enc_keys = encryptor->schedule;
        job->dec_keys = encryptor->schedule;
        job->key_len_in_bytes = KEY_LEN;
        job->iv = encryptor->ivs[i];
        job->iv_len_in_bytes = IV_LEN;
    }
}

static int start(struct flexnfv_nf *nf, const uint8_t *key)
{
    struct encryptor *encryptor = nf->state;
    encryptor->mb = alloc_mb_mgr(0);
    if (!encryptor->mb)
        return flexnfv_fail(nf, "out of memory");
    init_mb_mgr_auto(encryptor->mb, NULL);
    if (imb_get_errno(encryptor->mb) != 0)
        return flexnfv_fail(nf, "ipsec_mb does not run on this processor");
    IMB_AES_KEYEXP_128(encryptor->mb, key, encryptor->schedule, encryptor->unused_schedule);
    prepare_jobs(encryptor);
    return 0;
}

static void stop(struct encryptor *encryptor)
{
    if (encryptor->mb)
        free_mb_mgr(encryptor->mb);
    explicit_bzero(encryptor, sizeof(*encryptor));
    free(encryptor);
}

static int init(struct flexnfv_nf *nf, const char *args)
{
    enum { KEY, NONCE, OTHERS, COUNT };
    struct nf_option options[COUNT] = {
        [KEY] = {.name = "key", .value = EXAMPLE_KEY},
        [NONCE] = {.name = "nonce", .value = "00000000"},
        [OTHERS] = {.name = "others", .value = "pass"},
    };
    uint8_t key[KEY_LEN], nonce[NONCE_LEN];
    if (nf_options_read(nf, args, options, COUNT) != 0 ||
        read_hex(nf, &options[KEY], key, KEY_LEN) != 0 ||
        read_hex(nf, &options[NONCE], nonce, NONCE_LEN) != 0)
        return -1;
    bool drop = strcmp(options[OTHERS].value, "drop") == 0;
    if (!drop && strcmp(options[OTHERS].value, "pass") != 0)
        return flexnfv_fail(nf, "others=%s: give pass or drop", options[OTHERS].value);

    struct encryptor *encryptor = aligned_alloc(64, (sizeof(*encryptor) + 63) / 64 * 64);
    if (!encryptor)
        return flexnfv_fail(nf, "out of memory");
    memset(encryptor, 0, sizeof(*encryptor));
    encryptor->drop_others = drop;
    memcpy(encryptor->nonce, nonce, NONCE_LEN);
    nf->state = encryptor;
    int failed = start(nf, key);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(options[KEY].given, sizeof(options[KEY].given));
    if (failed)
        stop(encryptor);
    return failed;
}

static void make_iv(const struct encryptor *encryptor, const struct fx_flow *flow,
                    const uint8_t *transport, uint8_t *iv)
{
    uint32_t nonce, words[8];
    memcpy(&nonce, encryptor->nonce, sizeof(nonce));
    memcpy(words, flow->src, 16);
    memcpy(words + 4, flow->dst, 16);
    for (int i = 0; i < 8; i++)
        nonce ^= words[i];
    memcpy(iv, &nonce, NONCE_LEN);
    memcpy(iv + NONCE_LEN, transport, PACKET_IV_LEN);
}

static void process(struct flexnfv_nf *nf, struct rte_mbuf **packets, uint16_t count)
{
    struct encryptor *encryptor = nf->state;
    uint32_t jobs = 0;
    for (uint16_t i = 0; i < count; i++) {
        uint8_t *data = rte_pktmbuf_mtod(packets[i], uint8_t *);
        struct fx_flow flow;
        if (fx_parse(data, packets[i]->data_len, &flow) != FX_CLASS_PORTS ||
            packets[i]->nb_segs > 1) {
            encryptor->others++;
            if (encryptor->drop_others)
                flexnfv_drop(packets[i]);
            continue;
        }
        if (flow.payload == flow.end)
            continue;
        IMB_JOB *job = &encryptor->jobs[jobs];
        make_iv(encryptor, &flow, data + flow.l4, encryptor->ivs[jobs]);
        job->src = data + flow.payload;
        job->dst = data + flow.payload;
        job->msg_len_to_cipher_in_bytes = flow.end - flow.payload;
        jobs++;
    }
    if (jobs)
        IMB_SUBMIT_CIPHER_BURST_NOCHECK(encryptor->mb, encryptor->jobs, jobs, IMB_CIPHER_CNTR,
                                        IMB_DIR_ENCRYPT, KEY_LEN);
    encryptor->encrypted += jobs;
}

static void teardown(struct flexnfv_nf *nf)
{
    struct encryptor *encryptor = nf->state;
    printf("%s.%u: %" PRIu64 " packets encrypted, %" PRIu64 " others %s\n", nf->type_name,
           nf->info.slot, encryptor->encrypted, encryptor->others,
           encryptor->drop_others ? "dropped" : "passed");
    stop(encryptor);
}

static const struct flexnfv_nf_ops ops = {
    .name = "encryptor",
    .summary = "encrypts the payload of TCP, UDP and SCTP packets with AES-128-CTR",
    .args = "key=32 hex digits, nonce=8 hex digits, others=pass|drop (what cannot be encrypted)",
    .init = init,
    .process = process,
    .teardown = teardown,
};
FLEXNFV_NF(ops)
