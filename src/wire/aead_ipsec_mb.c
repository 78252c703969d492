/* Intel's multi-buffer library: jobs are submitted, the rest is flushed, and each comes back by its user_data. */
#include "wire/aead.h"

#include <errno.h>
#include <intel-ipsec-mb.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "wire/message.h"

#define NONCE_SIZE 12
#define BATCH 64 /* jobs under way at once, as many as one batch of datagrams; the library holds 256 */

/* What the library reads or writes by address until a job is done. */
struct slot {
    struct aead_job *job;
    uint8_t nonce[NONCE_SIZE];
    uint8_t tag[MESSAGE_TAG_SIZE];
    bool done;
};

struct aead {
    IMB_MGR *manager;
    struct slot slots[BATCH];
};

/* Below AVX2 the library falls back to SSE code that does not beat libsodium's, and on a CPU without AES-NI to an
 * emulation; its AVX2 set of flags names all that its code of that level uses. */
static bool supported(void) {
    return (imb_get_feature_flags() & IMB_CPUFLAGS_AVX2) == IMB_CPUFLAGS_AVX2;
}

static void free_aead(struct aead *aead) {
    if (!aead) {
        return;
    }
    if (aead->manager) {
        free_mb_mgr(aead->manager);
    }
    sodium_memzero(aead, sizeof *aead);
    free(aead);
}

static int create(struct aead **ret_aead) {
    struct aead *aead = NULL;
    int error = -ENOTSUP;
    if (!supported() || sodium_init() < 0) {
        goto fail;
    }
    error = -ENOMEM;
    aead = calloc(1, sizeof *aead);
    if (!aead) {
        goto fail;
    }
    aead->manager = alloc_mb_mgr(0);
    if (!aead->manager) {
        goto fail;
    }
    IMB_ARCH arch = IMB_ARCH_NONE;
    init_mb_mgr_auto(aead->manager, &arch);
    if (arch == IMB_ARCH_NONE || imb_get_errno(aead->manager) != 0) {
        error = -ENOTSUP;
        goto fail;
    }
    *ret_aead = aead;
    return 0;
fail:
    free_aead(aead);
    return error;
}

static void finish(IMB_JOB *done) {
    if (done && done->status == IMB_STATUS_COMPLETED) {
        ((struct slot *)done->user_data)->done = true;
    }
}

static void submit(struct aead *aead, struct slot *slot, bool sealing) {
    const struct aead_job *job = slot->job;
    IMB_JOB *imb = IMB_GET_NEXT_JOB(aead->manager);
    le32_put(slot->nonce, 0);
    le64_put(slot->nonce + 4, job->counter);
    imb->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    imb->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    imb->cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    imb->chain_order = sealing ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    imb->enc_keys = job->key->bytes;
    imb->dec_keys = job->key->bytes;
    imb->key_len_in_bytes = KEY_SIZE;
    imb->iv = slot->nonce;
    imb->iv_len_in_bytes = NONCE_SIZE;
    imb->src = job->from;
    imb->dst = job->to;
    imb->cipher_start_src_offset_in_bytes = 0;
    imb->msg_len_to_cipher_in_bytes = job->size;
    imb->hash_start_src_offset_in_bytes = 0;
    imb->msg_len_to_hash_in_bytes = job->size;
    imb->u.CHACHA20_POLY1305.aad = NULL;
    imb->u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
    imb->auth_tag_output = sealing ? job->to + job->size : slot->tag;
    imb->auth_tag_output_len_in_bytes = MESSAGE_TAG_SIZE;
    imb->user_data = slot;
    finish(IMB_SUBMIT_JOB(aead->manager));
}

/* Runs up to BATCH jobs. Afterwards those slots are `done` that the library took. */
static void run(struct aead *aead, struct aead_job *jobs, size_t count, bool sealing) {
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &aead->slots[i];
        slot->job = &jobs[i];
        slot->done = false;
        submit(aead, slot, sealing);
    }
    IMB_JOB *left;
    while ((left = IMB_FLUSH_JOB(aead->manager))) {
        finish(left);
    }
}

static void seal(struct aead *aead, struct aead_job *jobs, size_t count) {
    for (size_t at = 0; at < count; at += BATCH) {
        size_t batch = count - at < BATCH ? count - at : BATCH;
        run(aead, jobs + at, batch, true);
        for (size_t i = 0; i < batch; i++) {
            /* A job that the library refused must never leave as plaintext. */
            if (!aead->slots[i].done) {
                aead_sodium.seal(NULL, aead->slots[i].job, 1);
            }
        }
    }
}

/* In constant time: whether they differ is all that is branched on. */
static bool same_tag(const uint8_t a[MESSAGE_TAG_SIZE], const uint8_t b[MESSAGE_TAG_SIZE]) {
    return ((le64_get(a) ^ le64_get(b)) | (le64_get(a + 8) ^ le64_get(b + 8))) == 0;
}

_Static_assert(MESSAGE_TAG_SIZE == 16, "same_tag()");

static void check(struct slot *slot) {
    struct aead_job *job = slot->job;
    if (!slot->done) {
        aead_sodium.open(NULL, job, 1);
        return;
    }
    job->ok = same_tag(slot->tag, job->from + job->size);
    if (!job->ok) {
        sodium_memzero(job->to, job->size);
    }
}

static void open(struct aead *aead, struct aead_job *jobs, size_t count) {
    for (size_t at = 0; at < count; at += BATCH) {
        size_t batch = count - at < BATCH ? count - at : BATCH;
        run(aead, jobs + at, batch, false);
        for (size_t i = 0; i < batch; i++) {
            check(&aead->slots[i]);
        }
    }
}

const struct aead_ops aead_ipsec_mb = {
    .name = "ipsec-mb",
    .supported = supported,
    .create = create,
    .free = free_aead,
    .seal = seal,
    .open = open,
};
