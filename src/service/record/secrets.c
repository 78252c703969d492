#include "service/record/secrets.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "store/noun/routers.h"

_Static_assert(ROUTER_SEALED_SIZE ==
                   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + KEY_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "the column holds nonce, key and tag");

static void derive(const struct key *private_key, const char *purpose, uint8_t derived[32]) {
    crypto_generichash(derived, 32, (const uint8_t *)purpose, strlen(purpose), private_key->bytes, KEY_SIZE);
}

int secrets_open(struct secrets *secrets, const struct key *private_key) {
    secrets->private_key = sodium_malloc(sizeof *secrets->private_key);
    secrets->seal_key = sodium_malloc(32);
    secrets->answer_key = sodium_malloc(32);
    if (!secrets->private_key || !secrets->seal_key || !secrets->answer_key) {
        return -ENOMEM;
    }
    *secrets->private_key = *private_key;
    derive(private_key, "sallyport preshared keys at rest 1", secrets->seal_key);
    derive(private_key, "sallyport kept answers 1", secrets->answer_key);
    return 0;
}

void secrets_close(struct secrets *secrets) {
    sodium_free(secrets->private_key); /* wipes; accepts NULL */
    sodium_free(secrets->seal_key);
    sodium_free(secrets->answer_key);
}

/* The router's id is bound in: a seal copied to another row does not open there. */
void secrets_seal(const struct secrets *secrets, struct router_row *row) {
    row->has_preshared_key = !key_is_zero(&row->router.preshared_key);
    if (row->has_preshared_key) {
        uint8_t *nonce = row->sealed;
        randombytes_buf(nonce, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
        crypto_aead_xchacha20poly1305_ietf_encrypt(row->sealed + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, NULL,
                                                   row->router.preshared_key.bytes, KEY_SIZE, row->router.id.bytes,
                                                   sizeof row->router.id.bytes, NULL, nonce, secrets->seal_key);
    }
}

int secrets_unseal(const struct secrets *secrets, const struct router_row *row, struct key *ret_key) {
    struct key key = {0};
    if (row->has_preshared_key &&
        crypto_aead_xchacha20poly1305_ietf_decrypt(
            key.bytes, NULL, NULL, row->sealed + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
            ROUTER_SEALED_SIZE - crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, row->router.id.bytes,
            sizeof row->router.id.bytes, row->sealed, secrets->seal_key) != 0) {
        return -EBADMSG;
    }
    *ret_key = key;
    sodium_memzero(&key, sizeof key);
    return 0;
}
