#include "decrypt.h"

#include <intel-ipsec-mb.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESSES_OFFSET 26
#define UDP_OFFSET       34
#define UDP_IV_LENGTH    8
#define IV_LENGTH        (DECRYPT_NONCE_LENGTH + UDP_IV_LENGTH)
#define ROUND_KEYS       11

struct decrypter {
    uint8_t schedule[16 * ROUND_KEYS] __attribute__((aligned(16)));
    uint8_t unused_schedule[16 * ROUND_KEYS] __attribute__((aligned(16)));
    IMB_JOB jobs[DECRYPT_BURST];
    uint8_t ivs[DECRYPT_BURST][IV_LENGTH];
    uint8_t probes[DECRYPT_BURST][PROBE_LENGTH];
    uint8_t nonce[DECRYPT_NONCE_LENGTH];
    IMB_MGR *manager;
};

static void prepare_jobs(struct decrypter *decrypter)
{
    for (uint32_t i = 0; i < DECRYPT_BURST; i++)
        decrypter->jobs[i] = (IMB_JOB){
            .cipher_mode = IMB_CIPHER_CNTR,
            .cipher_direction = IMB_DIR_DECRYPT,
            .hash_alg = IMB_AUTH_NULL,
            .chain_order = IMB_ORDER_HASH_CIPHER,
            .enc_keys = decrypter->schedule,
            .dec_keys = decrypter->schedule, /* CTR runs the cipher forward both ways */
            .key_len_in_bytes = DECRYPT_KEY_LENGTH,
            .iv = decrypter->ivs[i],
            .iv_len_in_bytes = IV_LENGTH,
            .dst = decrypter->probes[i],
            .msg_len_to_cipher_in_bytes = PROBE_LENGTH,
        };
}

struct decrypter *decrypter_new(const uint8_t key[DECRYPT_KEY_LENGTH],
                                const uint8_t nonce[DECRYPT_NONCE_LENGTH])
{
    struct decrypter *decrypter = aligned_alloc(64, (sizeof(*decrypter) + 63) / 64 * 64);
    if (!decrypter)
        return NULL;
    memset(decrypter, 0, sizeof(*decrypter));
    decrypter->manager = alloc_mb_mgr(0);
    if (decrypter->manager)
        init_mb_mgr_auto(decrypter->manager, NULL);
    if (!decrypter->manager || imb_get_errno(decrypter->manager)) {
        decrypter_free(decrypter);
        return NULL;
    }
    IMB_AES_KEYEXP_128(decrypter->manager, key, decrypter->schedule, decrypter->unused_schedule);
    memcpy(decrypter->nonce, nonce, DECRYPT_NONCE_LENGTH);
    prepare_jobs(decrypter);
    return decrypter;
}

const uint8_t (*decrypter_probes(struct decrypter *decrypter, const uint8_t *const *frames,
                                 uint32_t count))[PROBE_LENGTH]
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *iv = decrypter->ivs[i];
        for (int byte = 0; byte < DECRYPT_NONCE_LENGTH; byte++)
            iv[byte] = decrypter->nonce[byte] ^ frames[i][ADDRESSES_OFFSET + byte] ^
                       frames[i][ADDRESSES_OFFSET + DECRYPT_NONCE_LENGTH + byte];
        memcpy(iv + DECRYPT_NONCE_LENGTH, frames[i] + UDP_OFFSET, UDP_IV_LENGTH);
        decrypter->jobs[i].src = frames[i] + PROBE_OFFSET;
    }
    IMB_SUBMIT_CIPHER_BURST_NOCHECK(decrypter->manager, decrypter->jobs, count, IMB_CIPHER_CNTR,
                                    IMB_DIR_DECRYPT, DECRYPT_KEY_LENGTH);
    return (const uint8_t(*)[PROBE_LENGTH])decrypter->probes;
}

void decrypter_free(struct decrypter *decrypter)
{
    if (decrypter && decrypter->manager)
        free_mb_mgr(decrypter->manager);
    free(decrypter);
}
