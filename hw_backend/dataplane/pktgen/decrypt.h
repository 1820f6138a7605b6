/*
 * Reads probes that the dataplane's encryptor has gone over: AES-128-CTR, counter block as in RFC
 * 3686, nonce = the key's nonce XOR both addresses, IV = the first 8 bytes of the UDP header
 * (nfs/encryptor.c is where the rule comes from).
 */
#ifndef PKTGEN_DECRYPT_H
#define PKTGEN_DECRYPT_H

#include "probe.h"

#include <stdint.h>

#define DECRYPT_BURST        64
#define DECRYPT_KEY_LENGTH   16
#define DECRYPT_NONCE_LENGTH 4

struct decrypter;

/* NULL if memory is short or the library does not run on this processor. */
struct decrypter *decrypter_new(const uint8_t key[DECRYPT_KEY_LENGTH],
                                const uint8_t nonce[DECRYPT_NONCE_LENGTH]);

/* Decrypts the probes of `count` (at most DECRYPT_BURST) generated frames that are long enough to
 * hold one, and returns them, PROBE_LENGTH bytes each; the frames stay as they are. */
const uint8_t (*decrypter_probes(struct decrypter *decrypter, const uint8_t *const *frames,
                                 uint32_t count))[PROBE_LENGTH];
void decrypter_free(struct decrypter *decrypter);

#endif
