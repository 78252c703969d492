/* ChaCha20-Poly1305 over batches of packets, behind one small table (ipsec-mb where the CPU has it, a
 * portable library elsewhere). Transport data only: 64-bit counter nonce, no additional data (whitepaper 5.4.6).
 *
 * A context belongs to one thread. Jobs of one call may be of different keys; a call returns when all are done. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"

struct aead_job {
    const struct key *key;
    uint64_t counter;
    const uint8_t *from; /* seal: plaintext; open: ciphertext followed by its tag */
    uint8_t *to; /* may equal `from`. seal: ciphertext, then 16 bytes of tag; open: plaintext (indeterminate if !ok) */
    size_t size; /* of the plaintext, without tag */
    bool ok;     /* out, open only: the tag was right (compared in constant time) */
};

struct aead;

struct aead_ops {
    const char *name;                      /* "ipsec-mb", "sodium" */
    bool (*supported)(void);               /* on this CPU */
    int (*create)(struct aead **ret_aead); /* 0, or -ENOMEM / -ENOTSUP */
    void (*free)(struct aead *aead);
    void (*seal)(struct aead *aead, struct aead_job *jobs, size_t count);
    void (*open)(struct aead *aead, struct aead_job *jobs, size_t count);
};

extern const struct aead_ops aead_sodium;
#ifdef HAVE_IPSEC_MB
extern const struct aead_ops aead_ipsec_mb;
#endif

/* By name, or the fastest that is supported for NULL or "auto". NULL if the name is unknown or not supported here. */
const struct aead_ops *aead_choose(const char *name);
