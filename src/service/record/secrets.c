/* Secrets at rest: preshared keys are in the store only sealed, under a key derived from the gateway's private key. A
 * dump of the database opens no tunnel, and every gateway that shares the server key can open the seals. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "service/state.h"

_Static_assert(ROUTER_SEALED_SIZE ==
                   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + KEY_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "the column holds nonce, key and tag");

static void derive(const struct key *private_key, const char *purpose, uint8_t derived[32]) {
    crypto_generichash(derived, 32, (const uint8_t *)purpose, strlen(purpose), private_key->bytes, KEY_SIZE);
}

int seal_open(struct service *s, const struct key *private_key) {
    s->private_key = sodium_malloc(sizeof *s->private_key);
    s->seal_key = sodium_malloc(32);
    s->answer_key = sodium_malloc(32);
    if (!s->private_key || !s->seal_key || !s->answer_key) {
        return -ENOMEM;
    }
    *s->private_key = *private_key;
    derive(private_key, "sallyport preshared keys at rest 1", s->seal_key);
    derive(private_key, "sallyport kept answers 1", s->answer_key);
    return 0;
}

void seal_close(struct service *s) {
    sodium_free(s->private_key); /* wipes; accepts NULL */
    sodium_free(s->seal_key);
    sodium_free(s->answer_key);
}

/* The router's id is bound in: a seal copied to another row does not open there. */
void seal_preshared(struct service *s, struct router_row *row) {
    row->has_preshared_key = !key_is_zero(&row->router.preshared_key);
    if (row->has_preshared_key) {
        uint8_t *nonce = row->sealed;
        randombytes_buf(nonce, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
        crypto_aead_xchacha20poly1305_ietf_encrypt(row->sealed + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, NULL,
                                                   row->router.preshared_key.bytes, KEY_SIZE, row->router.id.bytes,
                                                   sizeof row->router.id.bytes, NULL, nonce, s->seal_key);
    }
}

int seal_preshared_open(struct service *s, const struct router_row *row, struct key *ret_key) {
    struct key key = {0};
    if (row->has_preshared_key &&
        crypto_aead_xchacha20poly1305_ietf_decrypt(
            key.bytes, NULL, NULL, row->sealed + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
            ROUTER_SEALED_SIZE - crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, row->router.id.bytes,
            sizeof row->router.id.bytes, row->sealed, s->seal_key) != 0) {
        return -EBADMSG;
    }
    *ret_key = key;
    sodium_memzero(&key, sizeof key);
    return 0;
}
