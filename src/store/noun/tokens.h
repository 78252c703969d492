/* API tokens. Only a hash of a token is kept. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/tenant.h"
#include "model/uuid.h"

struct store_conn;

#define TOKEN_HASH_SIZE 32

struct token_row {
    struct uuid id;
    char name[NAME_SIZE];
    char scope[16];
    struct uuid tenant_id; /* zero: none */
    uint8_t hash[TOKEN_HASH_SIZE];
    int64_t created_at, expires_at, last_used_at; /* 0: never */
};

/* -EEXIST: there is one with this id. */
int tokens_insert(struct store_conn *conn, const struct token_row *row);
/* -ENOENT. */
int tokens_get(struct store_conn *conn, const struct uuid *id, struct token_row *ret_row); /* -ENOENT */
int tokens_get_by_hash(struct store_conn *conn, const uint8_t hash[TOKEN_HASH_SIZE], struct token_row *ret_row);
/* -ENOENT. */
int tokens_delete(struct store_conn *conn, const struct uuid *id);
int tokens_set_used(struct store_conn *conn, const struct uuid *id, int64_t at);
/* All of them, oldest first; free() the array. */
int tokens_list(struct store_conn *conn, struct token_row **ret_rows, size_t *ret_count);
