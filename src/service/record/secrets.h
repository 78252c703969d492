/* Secrets at rest: preshared keys are in the store only sealed, under a key derived from the gateway's private key. A
 * dump of the database opens no tunnel, and every gateway that shares the server key can open the seals.
 *
 * All of it lies in locked memory and is immutable once open; any thread may read it. */
#pragma once

#include <stdint.h>

#include "model/key.h"

struct router_row;

struct secrets {
    struct key *private_key;
    uint8_t *seal_key;   /* 32: preshared keys at rest */
    uint8_t *answer_key; /* 32: kept answers */
};

/* -ENOMEM; secrets_close() is due in any case. */
int secrets_open(struct secrets *secrets, const struct key *private_key);
/* Wipes. Accepts the half built. */
void secrets_close(struct secrets *secrets);
/* Into the row's sealed column. */
void secrets_seal(const struct secrets *secrets, struct router_row *row);
/* -EBADMSG: it was altered, or not sealed under this gateway's key. */
int secrets_unseal(const struct secrets *secrets, const struct router_row *row, struct key *ret_key);
