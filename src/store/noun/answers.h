/* Answers kept under an Idempotency-Key. Key and body come hashed and sealed from service/: the store reads neither. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct store_conn;

#define ANSWER_HASH_SIZE 32

/* Replaces an older one under the same key. `caller`: whose it is, for answers_trim(). */
int answers_put(struct store_conn *conn, const uint8_t key_hash[ANSWER_HASH_SIZE],
                const uint8_t caller[ANSWER_HASH_SIZE], const uint8_t request_hash[ANSWER_HASH_SIZE], int status,
                const void *body, size_t size, int64_t now);
/* Forgets a caller's oldest, so that at most so many answers and bytes are left, and the newest in any case. */
int answers_trim(struct store_conn *conn, const uint8_t caller[ANSWER_HASH_SIZE], size_t most, uint64_t most_bytes);
/* -ENOENT: none made after `since`. The body is the caller's to free(). */
int answers_get(struct store_conn *conn, const uint8_t key_hash[ANSWER_HASH_SIZE], int64_t since,
                uint8_t ret_request_hash[ANSWER_HASH_SIZE], int *ret_status, void **ret_body, size_t *ret_size);
int answers_forget(struct store_conn *conn, int64_t until);
