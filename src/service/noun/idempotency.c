/* Answers kept under an Idempotency-Key, for 24 hours. The row is found by a hash of caller and key; the body is sealed
 * under a key derived from both and from the gateway's own secret: the database alone gives away nothing of a private
 * key in it. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/noun/noun.h"
#include "store/noun/answers.h"

#define KEEP_US (INT64_C(24) * 3600 * USEC_PER_SEC)
/* Of a tenant's; the oldest give way */
#define KEPT_MAX 1000
#define KEPT_BYTES_MAX (64u << 20)
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_SIZE crypto_aead_xchacha20poly1305_ietf_ABYTES

/* Two keys with the same text from two callers are two keys; two tokens of one name are two callers. */
static void derive(struct service *s, const struct caller *c, const char *key, const char *purpose,
                   uint8_t derived[32]) {
    crypto_generichash_state state;
    const uint8_t scope = (uint8_t)c->scope;
    crypto_generichash_init(&state, s->secrets.answer_key, 32, 32);
    crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, &scope, 1);
    crypto_generichash_update(&state, c->tenant_id.bytes, sizeof c->tenant_id.bytes);
    crypto_generichash_update(&state, (const uint8_t *)c->actor, strlen(c->actor) + 1);
    crypto_generichash_update(&state, (const uint8_t *)key, strlen(key) + 1);
    crypto_generichash_final(&state, derived, 32);
    sodium_memzero(&state, sizeof state);
}

static int unseal(struct service *s, const struct caller *c, const char *key, const uint8_t *sealed, size_t size,
                  char **ret_body, size_t *ret_size) {
    uint8_t secret[32];
    if (size < NONCE_SIZE + TAG_SIZE) {
        return -EBADMSG;
    }
    size_t body_size = size - NONCE_SIZE - TAG_SIZE;
    char *body = malloc(body_size + 1);
    if (!body) {
        return -ENOMEM;
    }
    derive(s, c, key, "seal", secret);
    int r = crypto_aead_xchacha20poly1305_ietf_decrypt((uint8_t *)body, NULL, NULL, sealed + NONCE_SIZE,
                                                       size - NONCE_SIZE, NULL, 0, sealed, secret);
    sodium_memzero(secret, sizeof secret);
    if (r != 0) {
        free(body);
        return -EBADMSG;
    }
    body[body_size] = '\0';
    *ret_body = body;
    *ret_size = body_size;
    return 0;
}

int service_idempotency_get(struct service *s, const struct caller *c, const char *key, const uint8_t request_hash[32],
                            int *ret_status, char **ret_body, size_t *ret_size, struct problem *ret_problem) {
    struct store_conn *conn;
    uint8_t key_hash[ANSWER_HASH_SIZE], kept_hash[ANSWER_HASH_SIZE] = {0};
    void *sealed = NULL;
    size_t size = 0;
    int status = 0;
    derive(s, c, key, "name", key_hash);
    int r = store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    r = answers_get(conn, key_hash, clock_wall_us() - KEEP_US, kept_hash, &status, &sealed, &size);
    if (r < 0 && r != -ENOENT) {
        r = store_problem(conn, r, ret_problem);
    }
    store_reader_put(s->store, conn);
    if (r < 0) {
        return r;
    }
    if (sodium_memcmp(kept_hash, request_hash, sizeof kept_hash) != 0) {
        (void)problem_set(ret_problem, PROBLEM_INVALID, "idempotency-key-reused", "Idempotency-Key",
                          "This key was used for another request within the last 24 hours; make a new one for each.");
        r = -EEXIST;
    } else {
        r = unseal(s, c, key, sealed, size, ret_body, ret_size);
        if (r == 0) {
            *ret_status = status;
        } else {
            r = r == -ENOMEM ? problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.")
                             : problem_set(ret_problem, PROBLEM_INTERNAL, "seal-broken", NULL,
                                           "The kept answer cannot be read; repeat the request with another key.");
        }
    }
    free(sealed);
    return r;
}

int service_idempotency_put(struct service *s, const struct caller *c, const char *key, const uint8_t request_hash[32],
                            int status, const char *body, size_t size, struct problem *ret_problem) {
    uint8_t key_hash[ANSWER_HASH_SIZE], whose[ANSWER_HASH_SIZE], secret[32];
    struct write w;
    size_t sealed_size = NONCE_SIZE + size + TAG_SIZE;
    uint8_t *sealed = malloc(sealed_size);
    if (!sealed) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    const struct caller tenant = {.scope = SCOPE_TENANT_WRITE, .tenant_id = c->tenant_id}; /* all tokens of a tenant */
    derive(s, c->scope == SCOPE_ADMIN ? c : &tenant, "", "whose", whose);
    derive(s, c, key, "name", key_hash);
    derive(s, c, key, "seal", secret);
    randombytes_buf(sealed, NONCE_SIZE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_SIZE, NULL, (const uint8_t *)body, size, NULL, 0, NULL,
                                               sealed, secret);
    sodium_memzero(secret, sizeof secret);
    int r = write_begin(s->ledger, c->actor, &w, ret_problem);
    if (r == 0) {
        r = answers_put(w.conn, key_hash, whose, request_hash, status, sealed, sealed_size, w.now);
        r = r < 0 || c->scope == SCOPE_ADMIN ? r : answers_trim(w.conn, whose, KEPT_MAX, KEPT_BYTES_MAX);
        r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit_silent(&w, ret_problem);
        if (r < 0) {
            write_abort(&w);
        }
    }
    free(sealed);
    return r;
}
