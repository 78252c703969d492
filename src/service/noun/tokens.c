/* Bearer tokens: 256 random bits, of which only a hash is kept. */
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/noun/noun.h"
#include "store/noun/tokens.h"

#define TOKEN_BYTES 32
#define TOKEN_PREFIX "sp_"

_Static_assert(sizeof TOKEN_PREFIX - 1 +
                       sodium_base64_ENCODED_LEN(TOKEN_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING) <=
                   TOKEN_TEXT_SIZE,
               "a token's text fits");

/* When a token was used, to be written. */
struct token_use {
    struct uuid id;
    int64_t at;
};

/* A token that was looked up, by its hash: good for reads from memory while the database is away. */
struct token_known {
    uint8_t hash[TOKEN_HASH_SIZE];
    struct uuid id;
    struct caller caller;
    int64_t expires_at, checked_at; /* checked_at 0: none */
};

#define TOKEN_USES_MAX 64 /* more in one second wait for their next use */
#define TOKENS_KNOWN 256  /* a power of two */

struct token_memory {
    pthread_mutex_t mutex; /* all of it */
    struct token_use used[TOKEN_USES_MAX];
    size_t used_count;
    struct token_known known[TOKENS_KNOWN]; /* by the first bits of the hash */
};

int tokens_open(struct token_memory **ret_tokens) {
    struct token_memory *tokens = calloc(1, sizeof *tokens);
    if (!tokens) {
        return -ENOMEM;
    }
    pthread_mutex_init(&tokens->mutex, NULL);
    *ret_tokens = tokens;
    return 0;
}

void tokens_free(struct token_memory *tokens) {
    if (tokens) {
        pthread_mutex_destroy(&tokens->mutex);
        sodium_memzero(tokens, sizeof *tokens);
        free(tokens);
    }
}

_Static_assert(sizeof "token: ()" + NAME_SIZE - 1 + UUID_TEXT_SIZE - 1 <= CALLER_ACTOR_SIZE,
               "a token's whole name fits, and never a part of a letter");

/* The token is random through and through, so a plain hash cannot be guessed back. */
static void hash_of(const char *text, uint8_t hash[TOKEN_HASH_SIZE]) {
    static const char purpose[] = "sallyport token 1";
    crypto_generichash(hash, TOKEN_HASH_SIZE, (const uint8_t *)text, strlen(text), (const uint8_t *)purpose,
                       sizeof purpose - 1);
}

static void token_from(const struct token_row *row, struct token *ret_token) {
    *ret_token = (struct token){
        .id = row->id,
        .tenant_id = row->tenant_id,
        .created_at = row->created_at,
        .expires_at = row->expires_at,
        .last_used_at = row->last_used_at,
    };
    snprintf(ret_token->name, sizeof ret_token->name, "%s", row->name);
    if (scope_parse(row->scope, &ret_token->scope) < 0) {
        ret_token->scope = SCOPE_METRICS; /* a scope this version does not know gives the least */
    }
}

static int check(const struct caller *c, const struct token_spec *spec, int64_t now, struct problem *ret_problem) {
    int r = access_admin(c, NULL, ret_problem);
    r = r < 0 ? r : name_check(spec->name, ret_problem);
    if (r < 0) {
        return r;
    }
    bool of_tenant = spec->scope == SCOPE_TENANT_READ || spec->scope == SCOPE_TENANT_WRITE;
    if (of_tenant == uuid_is_zero(&spec->tenant_id)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "token-tenant", "tenant_id",
                           of_tenant ? "A token with scope %s needs the tenant it is for."
                                     : "A token with scope %s is for no single tenant; leave tenant_id out.",
                           scope_name(spec->scope));
    }
    if (spec->expires_at && spec->expires_at <= now) {
        return problem_set(ret_problem, PROBLEM_INVALID, "token-expired", "expires_at",
                           "The token would be expired already; give a time in the future, or none.");
    }
    return 0;
}

/* A repeat under an Idempotency-Key whose first answer nobody has: only the hash of that token is left. It is refused,
 * and names what it met. To make the text follow from the key would bring a revoked token back to life when the key is
 * used again; to put a new text in the old one's place would take it from whoever did get the first answer, which a
 * gateway that died, or lost the kept answer, cannot rule out. */
static int duplicate_problem(const struct uuid *id, struct problem *ret_problem) {
    char text[UUID_TEXT_SIZE];
    return problem_set(ret_problem, PROBLEM_CONFLICT, "duplicate-id", NULL,
                       "The token %s was made by this request before, and its text cannot be shown again. If you do "
                       "not have it, revoke that token, then make another with a new Idempotency-Key.",
                       uuid_format(id, text));
}

int service_token_create(struct service *s, const struct caller *c, const struct token_spec *spec,
                         struct token *ret_token, char ret_text[TOKEN_TEXT_SIZE], struct problem *ret_problem) {
    uint8_t secret[TOKEN_BYTES];
    char text[TOKEN_TEXT_SIZE] = TOKEN_PREFIX;
    struct token_row row = {
        .id = spec->id,
        .tenant_id = spec->tenant_id,
        .created_at = clock_wall_us(),
        .expires_at = spec->expires_at,
    };
    struct token made;
    struct write w;
    int r = check(c, spec, row.created_at, ret_problem);
    if (r < 0) {
        return r;
    }
    snprintf(row.name, sizeof row.name, "%s", spec->name);
    snprintf(row.scope, sizeof row.scope, "%s", scope_name(spec->scope));
    if (uuid_is_zero(&row.id)) {
        uuid_make((uint64_t)row.created_at / 1000, &row.id);
    }
    randombytes_buf(secret, sizeof secret);
    sodium_bin2base64(text + sizeof TOKEN_PREFIX - 1, sizeof text - (sizeof TOKEN_PREFIX - 1), secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof secret);
    hash_of(text, row.hash);
    r = caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        goto end;
    }
    if (!uuid_is_zero(&row.tenant_id)) {
        struct tenant_row tenant;
        r = tenants_get(w.conn, &row.tenant_id, &tenant);
        if (r < 0) {
            r = r == -ENOENT ? access_not_found("tenant", ret_problem) : store_problem(w.conn, r, ret_problem);
            goto fail;
        }
    }
    r = tokens_insert(w.conn, &row);
    if (r == -EEXIST) { /* of the id: 256 random bits do not meet */
        r = duplicate_problem(&row.id, ret_problem);
        goto fail;
    }
    token_from(&row, &made);
    r = r < 0 ? r : write_note(&w, "token.created", &row.tenant_id, NULL, NULL);
    r = r < 0 ? r : audit_token(&w, NULL, &made);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit_silent(&w, ret_problem);
    if (r < 0) {
        goto fail;
    }
    *ret_token = made;
    memcpy(ret_text, text, sizeof text);
    goto end;
fail:
    write_abort(&w);
end:
    sodium_memzero(text, sizeof text);
    return r;
}

int service_token_list(struct service *s, const struct caller *c, struct token **ret_tokens, size_t *ret_count,
                       struct problem *ret_problem) {
    struct store_conn *conn;
    struct token_row *rows = NULL;
    struct token *tokens = NULL;
    size_t count = 0;
    int r = access_admin(c, NULL, ret_problem);
    r = r < 0 ? r : store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    r = tokens_list(conn, &rows, &count);
    if (r == 0) {
        tokens = calloc(count + 1, sizeof *tokens);
        r = tokens ? 0 : -ENOMEM;
    }
    if (tokens) {
        for (size_t i = 0; i < count; i++) {
            token_from(&rows[i], &tokens[i]);
        }
        *ret_tokens = tokens;
        *ret_count = count;
    } else {
        r = store_problem(conn, r, ret_problem);
    }
    store_reader_put(s->store, conn);
    free(rows);
    return r;
}

static void forget_known(struct token_memory *tokens, const struct uuid *id) {
    pthread_mutex_lock(&tokens->mutex);
    for (size_t i = 0; i < TOKENS_KNOWN; i++) {
        if (tokens->known[i].checked_at && uuid_equal(&tokens->known[i].id, id)) {
            tokens->known[i] = (struct token_known){0};
        }
    }
    pthread_mutex_unlock(&tokens->mutex);
}

int service_token_revoke(struct service *s, const struct caller *c, const struct uuid *id,
                         struct problem *ret_problem) {
    static const struct uuid none;
    struct token_row row;
    struct token gone;
    struct write w;
    int r = access_admin(c, NULL, ret_problem);
    r = r < 0 ? r : caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = tokens_get(w.conn, id, &row);
    r = r < 0 ? r : tokens_delete(w.conn, id);
    if (r == -ENOENT) {
        r = access_not_found("token", ret_problem);
    } else {
        if (r == 0) {
            token_from(&row, &gone);
            r = write_note(&w, "token.revoked", &none, NULL, NULL);
        }
        r = r < 0 ? r : audit_token(&w, &gone, NULL);
        r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit_silent(&w, ret_problem);
    }
    if (r < 0) {
        write_abort(&w);
    }
    forget_known(s->tokens, id);
    return r;
}

/* That a token was used is written by the keeper: a check never waits for the disk. */
static void note_used(struct token_memory *tokens, const struct uuid *id, int64_t now) {
    pthread_mutex_lock(&tokens->mutex);
    size_t i = 0;
    while (i < tokens->used_count && !uuid_equal(&tokens->used[i].id, id)) {
        i++;
    }
    if (i < sizeof tokens->used / sizeof *tokens->used) {
        tokens->used[i].id = *id;
        tokens->used[i].at = now;
        tokens->used_count = i == tokens->used_count ? i + 1 : tokens->used_count;
    }
    pthread_mutex_unlock(&tokens->mutex);
}

/* For how long a token is taken for good that nobody can look up. */
#define KNOWN_US (INT64_C(600) * USEC_PER_SEC)

static void know(struct token_memory *tokens, const uint8_t hash[TOKEN_HASH_SIZE], const struct token *token,
                 const struct caller *caller, int64_t now) {
    struct token_known *known = &tokens->known[(hash[0] | hash[1] << 8) % TOKENS_KNOWN];
    pthread_mutex_lock(&tokens->mutex);
    *known =
        (struct token_known){.id = token->id, .caller = *caller, .expires_at = token->expires_at, .checked_at = now};
    memcpy(known->hash, hash, sizeof known->hash);
    pthread_mutex_unlock(&tokens->mutex);
}

static int recall(struct token_memory *tokens, const uint8_t hash[TOKEN_HASH_SIZE], int64_t now,
                  struct caller *ret_caller) {
    const struct token_known *known = &tokens->known[(hash[0] | hash[1] << 8) % TOKENS_KNOWN];
    int r = -EAGAIN;
    pthread_mutex_lock(&tokens->mutex);
    if (known->checked_at && sodium_memcmp(known->hash, hash, sizeof known->hash) == 0) {
        r = known->expires_at && known->expires_at <= now ? -EACCES : now - known->checked_at < KNOWN_US ? 0 : -EAGAIN;
    }
    if (r == 0) {
        *ret_caller = known->caller;
    }
    pthread_mutex_unlock(&tokens->mutex);
    return r;
}

int service_token_check(struct service *s, const char *text, struct caller *ret_caller) {
    struct store_conn *conn;
    struct token_row row;
    struct token token;
    struct problem problem;
    uint8_t hash[TOKEN_HASH_SIZE];
    char id[UUID_TEXT_SIZE];
    int64_t now = clock_wall_us();
    if (strncmp(text, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1) != 0 ||
        strnlen(text, TOKEN_TEXT_SIZE) >= TOKEN_TEXT_SIZE) {
        return -EACCES;
    }
    hash_of(text, hash);
    int r = store_reader_take(s->store, &conn, &problem);
    if (r < 0) {
        return recall(s->tokens, hash, now, ret_caller);
    }
    r = tokens_get_by_hash(conn, hash, &row);
    store_reader_put(s->store, conn);
    if (r < 0) {
        return r == -ENOENT ? -EACCES : r == -ENOTCONN ? recall(s->tokens, hash, now, ret_caller) : r;
    }
    if (sodium_memcmp(row.hash, hash, sizeof hash) != 0 || (row.expires_at && row.expires_at <= now)) {
        return -EACCES;
    }
    token_from(&row, &token);
    *ret_caller = (struct caller){.scope = token.scope, .tenant_id = token.tenant_id, .token_id = token.id};
    snprintf(ret_caller->actor, sizeof ret_caller->actor, "token:%s (%s)", token.name, uuid_format(&token.id, id));
    if (store_is_shared(s->store)) {
        know(s->tokens, hash, &token, ret_caller, now);
    }
    if (now - row.last_used_at >= 60 * USEC_PER_SEC) {
        note_used(s->tokens, &row.id, now);
    }
    return 0;
}

void token_flush_used(struct service *s) {
    struct token_memory *tokens = s->tokens;
    struct token_use used[TOKEN_USES_MAX];
    struct problem problem;
    struct write w;
    pthread_mutex_lock(&tokens->mutex);
    size_t count = tokens->used_count;
    memcpy(used, tokens->used, count * sizeof *used);
    tokens->used_count = 0;
    pthread_mutex_unlock(&tokens->mutex);
    if (!count || write_begin(s->ledger, "", &w, &problem) < 0) {
        return;
    }
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = tokens_set_used(w.conn, &used[i].id, used[i].at);
    }
    if (r < 0 || write_commit_silent(&w, &problem) < 0) {
        write_abort(&w); /* when a token was used last is no more than a hint */
    }
}
