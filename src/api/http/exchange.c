/* One request, from its head to its answer: route, caller, parameters, body, handler.
 *
 * A request that is refused early still has its body read, unlooked at, so that the client gets to see the answer; a
 * body beyond DRAIN_MAX ends the connection instead. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/http/server.h"
#include "api/json/memory.h"
#include "base/clock.h"

#define DRAIN_MAX (64u << 20)
#define DRAIN_MAX_STRANGER (64u << 10)
#define IDEMPOTENCY_KEY_MAX 128
#define ANSWER_SMALL (64u << 10)
#define TRIM_FROM (1u << 20)

void *exchange_open(void *context, const char *uri, struct MHD_Connection *mhd) {
    struct api *api = context;
    (void)mhd;
    struct exchange *e = calloc(1, sizeof *e);
    char *copy = strdup(uri);
    if (!e || !copy) {
        free(e);
        free(copy);
        return NULL;
    }
    e->api = api;
    e->uri = copy;
    e->started_ns = clock_mono_ns();
    snprintf(e->id, sizeof e->id, "%08" PRIx32 "%08x", api->id_base, atomic_fetch_add(&api->id_next, 1));
    pthread_mutex_lock(&api->mutex);
    api->exchanges++;
    pthread_mutex_unlock(&api->mutex);
    return e;
}

static struct connection *connection_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

void exchange_close(void *context, struct MHD_Connection *mhd, void **exchange_context,
                    enum MHD_RequestTerminationCode code) {
    struct api *api = context;
    struct exchange *e = *exchange_context;
    struct connection *connection = connection_of(mhd);
    (void)code;
    if (!e) {
        return;
    }
    bool large = e->most_memory > TRIM_FROM;
    answer_free(&e->answer);
    buf_free(&e->body);
    memory_release(&e->memory);
    if (e->share) {
        share_leave(&api->shares, e->share);
    }
    free(e->uri);
    free(e);
    if (large) {
        malloc_trim(0); /* small pieces of large requests would stay with their arenas for ever */
    }
    *exchange_context = NULL;
    pthread_mutex_lock(&api->mutex);
    api->exchanges--;
    if (connection) {
        connection->busy = false;
        connection->deadline_ns = clock_mono_ns() + api->config.request_s * NSEC_PER_SEC;
    }
    pthread_cond_broadcast(&api->changed);
    pthread_mutex_unlock(&api->mutex);
}

/* --- the head --- */

static const char *header(struct MHD_Connection *mhd, const char *name) {
    return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

static bool find_route(struct exchange *e, const char *method, const char *path) {
    struct request *r = &e->request;
    char allow[64];
    /* No path of ours needs an escape; refusing them all leaves no second spelling of any. */
    int error = strcspn(e->uri, "%?") < strcspn(e->uri, "?")
                    ? -ENOENT
                    : route_find(e->api->routes, method, path, &r->route, &r->id, allow);
    switch (error) {
    case 0:
        return true;
    case -EOPNOTSUPP:
        memcpy(e->answer.allow, allow, sizeof allow);
        answer_refuse(&e->answer, 405, "method-not-allowed", NULL, "%.16s is not possible here; %s is.", method, allow);
        return false;
    case -EBADMSG:
        answer_refuse(&e->answer, 404, "not-found", NULL,
                      "The id in this path is not a UUID such as 0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b.");
        return false;
    default:
        answer_refuse(&e->answer, 404, "not-found", NULL, "There is no such path; /v1/openapi.json lists all.");
        return false;
    }
}

static bool may(struct exchange *e, struct MHD_Connection *mhd, const struct connection *connection) {
    const struct route *route = e->request.route;
    if (route->scopes == ROUTE_OPEN) {
        return true;
    }
    if (!auth_caller(e->api->config.service, &connection->peer, header(mhd, "Authorization"), &e->request.caller,
                     &e->answer)) {
        return false;
    }
    if (!(route->scopes & 1u << e->request.caller.scope)) {
        answer_refuse(&e->answer, 403, "forbidden", NULL, "A token of scope \"%s\" may not do this.",
                      scope_name(e->request.caller.scope));
        return false;
    }
    return true;
}

static enum MHD_Result take_parameter(void *context, enum MHD_ValueKind kind, const char *name, size_t name_size,
                                      const char *value, size_t value_size) {
    struct exchange *e = context;
    struct request *r = &e->request;
    (void)kind;
    json_t *name_text = json_stringn(name, name_size);
    json_t *value_text = json_stringn(value ? value : "", value_size);
    bool utf8 = name_text && value_text && strlen(name) == name_size && (!value || strlen(value) == value_size);
    json_decref(name_text);
    json_decref(value_text);
    if (!utf8) {
        answer_refuse(&e->answer, 400, "invalid-utf8", NULL, "The query string is not valid UTF-8 text.");
        return MHD_NO;
    }
    const struct field *field = field_find(r->route->query, r->route->query_count, name);
    if (!field) {
        answer_refuse(&e->answer, 422, "unknown-parameter", name,
                      "There is no query parameter \"%.60s\" here; see /v1/openapi.json for those there are.", name);
        return MHD_NO;
    }
    size_t at = (size_t)(field - r->route->query);
    if (r->query[at]) {
        answer_refuse(&e->answer, 422, "repeated-parameter", name, "\"%.60s\" is given twice; give it once.", name);
        return MHD_NO;
    }
    r->query[at] = value ? value : "";
    return MHD_YES;
}

static size_t body_max(const struct exchange *e) {
    const struct route *route = e->request.route;
    return route->whole ? SERVER_BODY_MAX_WHOLE : route->large ? SERVER_BODY_MAX : SERVER_BODY_MAX_SINGLE;
}

static void refuse_too_large(struct exchange *e) {
    answer_refuse(&e->answer, 413, "body-too-large", NULL, "A body may have at most %zu bytes here%s", body_max(e),
                  e->request.route->large ? "; send the work in several requests." : ".");
}

static void refuse_body(struct exchange *e) {
    answer_refuse(&e->answer, 422, "unexpected-body", NULL, "This request takes no body; leave it out.");
}

/* What the head says of the body is enough to refuse it. */
static bool announces_wrong_body(struct exchange *e, struct MHD_Connection *mhd) {
    const char *length = header(mhd, "Content-Length");
    unsigned long long size = length ? strtoull(length, NULL, 10) : 0;
    if (size > body_max(e)) {
        refuse_too_large(e);
    } else if (e->request.route->body == ROUTE_BODY_NONE && size > 0) {
        refuse_body(e);
    }
    return e->answer.status != 0;
}

struct framing {
    unsigned lengths, encodings;
};

static enum MHD_Result count_framing(void *context, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct framing *framing = context;
    (void)kind;
    (void)value;
    framing->lengths += strcasecmp(name, "Content-Length") == 0;
    framing->encodings += strcasecmp(name, "Transfer-Encoding") == 0;
    return MHD_YES;
}

/* Where a proxy in front of us may see another end of the body than we do, the next request could be smuggled in. */
static bool is_ambiguous(struct exchange *e, struct MHD_Connection *mhd) {
    struct framing framing = {0};
    MHD_get_connection_values(mhd, MHD_HEADER_KIND, count_framing, &framing);
    if (framing.lengths <= 1 && framing.encodings <= 1 && !(framing.lengths && framing.encodings)) {
        return false;
    }
    answer_refuse(
        &e->answer, 400, "ambiguous-length", NULL,
        "The request says in two ways how long its body is; send one Content-Length, or one Transfer-Encoding.");
    e->closes = true;
    return true;
}

static void refuse_busy(struct exchange *e, int status, const char *type, unsigned after_s, const char *words) {
    answer_refuse(&e->answer, status, type, NULL, "%s", words);
    e->answer.retry_after_s = after_s;
}

/* The caller's share in what all requests have in common. */
static bool take_share(struct exchange *e) {
    struct api *api = e->api;
    const struct route *route = e->request.route;
    if (route->scopes == ROUTE_OPEN) {
        return true;
    }
    e->share = share_enter(&api->shares, &e->request.caller);
    if (!e->share) {
        refuse_busy(e, 429, "too-many-requests", 1,
                    "Too many requests of this caller are being handled; wait for some of them to end.");
        return false;
    }
    if (e->share->limited) {
        e->memory.pools[0] = &api->shares.memory;
        e->memory.pools[1] = &e->share->memory;
    } else {
        e->memory.limit = SERVER_JSON_MAX_OPERATOR;
    }
    unsigned wait_s = route->method == METHOD_GET ? 0 : share_spend(&api->shares, e->share);
    if (wait_s) {
        refuse_busy(
            e, 429, "too-many-writes", wait_s,
            "This caller changes more per second than it may; go on after the seconds in Retry-After, or send many "
            "changes in one request.");
        return false;
    }
    return true;
}

/* Everything that can be told before the body. */
static void begin(struct exchange *e, struct MHD_Connection *mhd, const char *url, const char *method) {
    struct connection *connection = connection_of(mhd);
    struct request *r = &e->request;
    *r = (struct request){
        .service = e->api->config.service,
        .interface_name = e->api->config.interface_name,
        .stopping = server_stopping,
        .stopping_context = e->api,
    };
    if (!connection) {
        answer_out_of_memory(&e->answer);
        return;
    }
    e->memory.limit = SERVER_BODY_MAX_SINGLE * 2;
    e->answer.local = connection->peer.trusted;
    if (is_ambiguous(e, mhd) || !find_route(e, method, url)) {
        return;
    }
    e->memory.limit = r->route->large ? SERVER_JSON_MAX : SERVER_JSON_MAX_SINGLE;
    if (connection->excess && r->route->scopes != ROUTE_OPEN) {
        refuse_busy(e, 503, "busy", 1, "All connections are in use; try again in a moment.");
        e->closes = true;
        return;
    }
    if (!may(e, mhd, connection)) {
        e->stranger = e->answer.status == 401;
        return;
    }
    snprintf(r->caller.origin, sizeof r->caller.origin, "%s", connection->peer.from);
    snprintf(r->caller.request, sizeof r->caller.request, "%s", e->id);
    if (r->route->scopes != ROUTE_OPEN) {
        server_prove(e->api, connection);
    }
    if (!take_share(e) || announces_wrong_body(e, mhd)) {
        return;
    }
    MHD_get_connection_values_n(mhd, MHD_GET_ARGUMENT_KIND, take_parameter, e);
}

/* --- the body --- */

static void refuse_memory(struct exchange *e) {
    if (e->memory.lack == MEMORY_OF_REQUEST) {
        answer_refuse(&e->answer, 413, "body-too-large", NULL,
                      "The body has more values than one request may have; send the work in several requests.");
    } else {
        refuse_busy(e, 429, "busy", 2,
                    "Other requests have taken the memory that there is for bodies; try again in a moment.");
    }
}

static void take_piece(struct exchange *e, const char *piece, size_t size) {
    e->received += size;
    if (e->answer.status) {
        return;
    }
    if (e->request.route->body == ROUTE_BODY_NONE) {
        refuse_body(e);
    } else if (e->received > body_max(e)) {
        refuse_too_large(e);
    } else if (!memory_take(&e->memory, size)) {
        refuse_memory(e);
    }
    if (e->answer.status) {
        buf_free(&e->body);
        memory_release(&e->memory);
        return;
    }
    buf_append(&e->body, piece, size);
    if (e->body.failed) {
        answer_out_of_memory(&e->answer);
    }
}

static void refuse_json(struct exchange *e, const json_error_t *error) {
    bool utf8 = json_error_code(error) == json_error_invalid_utf8;
    answer_refuse(&e->answer, 400, utf8 ? "invalid-utf8" : "malformed-json", NULL,
                  "The body is not JSON at line %d, column %d: %.200s.", error->line, error->column,
                  json_error_code(error) == json_error_duplicate_key ? "a name appears twice in one object"
                                                                     : error->text);
}

/* The body as an object; NULL and an answer if it is not right. */
static json_t *parse_body(struct exchange *e, struct MHD_Connection *mhd) {
    const struct route *route = e->request.route;
    const char *type = header(mhd, "Content-Type");
    json_error_t error;
    if (e->body.size == 0 && route->body == ROUTE_BODY_REQUIRED) {
        answer_refuse(&e->answer, 400, "malformed-json", NULL, "The body is empty; send a JSON object.");
        return NULL;
    }
    if (e->body.size == 0) {
        return json_object();
    }
    if (!type || strncasecmp(type, ANSWER_JSON, strlen(ANSWER_JSON)) != 0 || !strchr("; ", type[strlen(ANSWER_JSON)])) {
        answer_refuse(&e->answer, 415, "unsupported-media-type", NULL,
                      "Send the body with \"Content-Type: application/json\".");
        return NULL;
    }
    e->memory.lack = MEMORY_ENOUGH;
    memory_enter(&e->memory);
    json_t *body = json_loadb(e->body.data, e->body.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    memory_leave();
    e->most_memory = e->memory.used;
    if (!body && e->memory.lack != MEMORY_ENOUGH) {
        refuse_memory(e);
    } else if (!body) {
        refuse_json(e, &error);
    } else if (!json_is_object(body)) {
        answer_refuse(&e->answer, 422, "wrong-type", NULL, "The body must be an object, not %s.",
                      field_type_name(body));
        json_decref(body);
        body = NULL;
    }
    return body;
}

/* --- the handler --- */

static void request_hash(const struct exchange *e, uint8_t hash[32]) {
    crypto_generichash_state state;
    const char *method = method_name(e->request.route->method);
    crypto_generichash_init(&state, NULL, 0, 32);
    crypto_generichash_update(&state, (const uint8_t *)method, strlen(method) + 1);
    crypto_generichash_update(&state, (const uint8_t *)e->uri, strlen(e->uri) + 1);
    if (e->body.size) {
        crypto_generichash_update(&state, (const uint8_t *)e->body.data, e->body.size);
    }
    crypto_generichash_final(&state, hash, 32);
}

/* NULL for none; an invalid one is refused. */
static const char *idempotency_key(struct exchange *e, struct MHD_Connection *mhd) {
    const char *key = header(mhd, "Idempotency-Key");
    if (!key) {
        return NULL;
    }
    size_t size = strlen(key);
    for (size_t i = 0; i < size; i++) {
        if (key[i] < 0x20 || key[i] > 0x7e) {
            size = 0;
        }
    }
    if (size == 0 || size > IDEMPOTENCY_KEY_MAX) {
        answer_refuse(&e->answer, 422, "invalid-idempotency-key", "Idempotency-Key",
                      "An Idempotency-Key has 1 to 128 printable ASCII characters, a UUID for instance.");
        return NULL;
    }
    return key;
}

/* Two callers' same key are two keys. */
static void make_id_seed(const struct request *r, const char *key, const uint8_t hash[32], uint8_t seed[32]) {
    crypto_generichash_state state;
    const uint8_t scope = (uint8_t)r->caller.scope;
    crypto_generichash_init(&state, hash, 32, 32);
    crypto_generichash_update(&state, &scope, 1);
    crypto_generichash_update(&state, r->caller.tenant_id.bytes, sizeof r->caller.tenant_id.bytes);
    crypto_generichash_update(&state, (const uint8_t *)r->caller.actor, strlen(r->caller.actor) + 1);
    crypto_generichash_update(&state, (const uint8_t *)key, strlen(key));
    crypto_generichash_final(&state, seed, 32);
}

/* The handler, again where the database lost the connection or broke the transaction off: it then changed nothing. */
static void serve(struct exchange *e) {
    struct request *r = &e->request;
    for (int attempt = 1;; attempt++) {
        r->route->handle(r, &e->answer);
        int most = e->answer.store == ANSWER_STORE_AGAIN  ? SERVER_ATTEMPTS
                   : e->answer.store == ANSWER_STORE_AWAY ? 2
                                                          : 1;
        if (attempt >= most || server_stopping(e->api)) {
            break;
        }
        answer_free(&e->answer);
    }
    if (r->route->may_be_stale && service_store_may_leave(r->service)) {
        if (e->answer.status == 200) {
            stale_keep(&e->api->stale, &r->caller, e->uri, &e->answer);
        } else if (e->answer.store == ANSWER_STORE_AWAY) {
            (void)stale_find(&e->api->stale, &r->caller, e->uri, &e->answer);
        }
    }
}

/* What is slow to be read is held for as long, so it counts like a body. */
static void take_answer(struct exchange *e) {
    e->memory.limit = SERVER_ANSWER_MAX;
    if (e->share && e->answer.body.size > ANSWER_SMALL && e->request.route->method == METHOD_GET &&
        !memory_take(&e->memory, e->answer.body.size)) {
        refuse_busy(e, 429, "busy", 2,
                    "Other answers that are not read yet have taken the memory that there is; try again in a moment.");
    }
    e->most_memory = e->most_memory > e->answer.body.size ? e->most_memory : e->answer.body.size;
}

/* Whether it asks to wait for events. */
static bool is_poll(const struct request *r) {
    const struct field *wait = field_find(r->route->query, r->route->query_count, "wait");
    const char *given = wait ? r->query[wait - r->route->query] : NULL;
    return given && strtoul(given, NULL, 10) > 0;
}

static void handle_shared(struct exchange *e, struct MHD_Connection *mhd);

/* With the caller's share of what the handler takes. */
static void handle(struct exchange *e, struct MHD_Connection *mhd) {
    struct shares *shares = &e->api->shares;
    bool writes = e->share && e->request.route->method != METHOD_GET, polls = e->share && is_poll(&e->request);
    if (polls && !share_poll_begin(shares, e->share)) {
        refuse_busy(
            e, 429, "too-many-polls", 5,
            "This caller waits for events in too many requests already; use one of them for all that it is about.");
        return;
    }
    if (writes) {
        share_write_begin(shares, e->share);
    }
    handle_shared(e, mhd);
    if (writes) {
        share_write_end(shares, e->share);
    }
    if (polls) {
        share_poll_end(shares, e->share);
    }
}

static void handle_shared(struct exchange *e, struct MHD_Connection *mhd) {
    struct request *r = &e->request;
    uint8_t hash[32], seed[32];
    json_t *body = parse_body(e, mhd);
    if (!body) {
        return;
    }
    r->body = body;
    request_hash(e, hash);
    memory_give(&e->memory, e->body.size);
    buf_free(&e->body); /* its values are copies */
    const char *key = r->route->keeps_answer ? idempotency_key(e, mhd) : NULL;
    if (e->answer.status == 0 && key) {
        struct key_in_use claim;
        make_id_seed(r, key, hash, seed);
        r->id_seed = seed;
        if (!idempotency_begin(e->api, &r->caller, key, hash, &claim, &e->answer)) {
            serve(e);
            idempotency_end(e->api, &r->caller, hash, &claim, &e->answer);
        }
        r->id_seed = NULL;
    } else if (e->answer.status == 0) {
        serve(e);
    }
    r->body = NULL;
    json_decref(body);
    memory_release(&e->memory);
    take_answer(e);
}

/* --- the answer --- */

static void free_body(void *context) {
    buf_free(context);
    free(context);
}

/* A body that is made while it is sent. Owns what the answer had. */
struct stream {
    struct answer answer;
    size_t sent; /* of the answer's body, which holds the current piece */
    bool ended;
};

static ssize_t stream_read(void *context, uint64_t position, char *room, size_t size) {
    struct stream *stream = context;
    struct buf *piece = &stream->answer.body;
    (void)position;
    while (stream->sent == piece->size && !stream->ended) {
        buf_clear(piece);
        stream->sent = 0;
        int more = stream->answer.more(stream->answer.more_context, piece);
        if (more < 0 || piece->failed) {
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        stream->ended = more == 0;
    }
    size_t left = piece->size - stream->sent;
    if (left == 0) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size = left < size ? left : size;
    memcpy(room, piece->data + stream->sent, size);
    stream->sent += size;
    return (ssize_t)size;
}

static void stream_free(void *context) {
    struct stream *stream = context;
    answer_free(&stream->answer);
    free(stream);
}

static struct MHD_Response *make_stream(struct answer *answer) {
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        return NULL;
    }
    stream->answer = *answer;
    answer->body = (struct buf){0};
    answer->more = NULL;
    answer->more_end = NULL;
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 64 * 1024, stream_read, stream, stream_free);
    if (!response) {
        stream_free(stream);
    }
    return response;
}

static struct MHD_Response *make_response(struct answer *answer) {
    if (answer->more) {
        return make_stream(answer);
    }
    struct buf *body = malloc(sizeof *body);
    if (!body) {
        return NULL;
    }
    *body = answer->body;
    answer->body = (struct buf){0};
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(body->size, body->data, free_body, body);
    if (!response) {
        free_body(body);
    }
    return response;
}

static enum MHD_Result send_answer(struct exchange *e, struct MHD_Connection *mhd) {
    struct answer *a = &e->answer;
    int status = a->status;
    struct MHD_Response *response = make_response(a);
    if (!response) {
        return MHD_NO;
    }
    if (a->type) {
        MHD_add_response_header(response, "Content-Type", a->type);
    }
    if (a->location[0]) {
        MHD_add_response_header(response, "Location", a->location);
    }
    if (a->allow[0]) {
        MHD_add_response_header(response, "Allow", a->allow);
    }
    if (a->replayed) {
        MHD_add_response_header(response, "Idempotency-Replayed", "true");
    }
    if (a->stale) {
        char age[24];
        snprintf(age, sizeof age, "%" PRIu64, a->age_s);
        MHD_add_response_header(response, "Age", age);
        MHD_add_response_header(response, "Warning", "110 sallyport \"Response is Stale\"");
    }
    if (status == 401) {
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"sallyport\"");
    }
    if (a->retry_after_s || status == 503) {
        char after[16];
        snprintf(after, sizeof after, "%u", a->retry_after_s ? a->retry_after_s : 1);
        MHD_add_response_header(response, "Retry-After", after);
    }
    if (e->closes || status == 401) {
        MHD_add_response_header(response, "Connection", "close");
    }
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "X-Request-Id", e->id);
    enum MHD_Result queued = MHD_queue_response(mhd, (unsigned)status, response);
    MHD_destroy_response(response);
    const struct request *r = &e->request;
    if (a->cause[0]) {
        server_log(e->api, LOG_LEVEL_WARNING, "request %s: %s", e->id, a->cause);
    }
    server_log(e->api, LOG_LEVEL_DEBUG, "%s %s %d in %" PRIu64 " us for %s (%s)",
               r->route ? method_name(r->route->method) : "?", r->route ? r->route->pattern : "(no such path)", status,
               (clock_mono_ns() - e->started_ns) / 1000, r->caller.actor[0] ? r->caller.actor : "-", e->id);
    return queued;
}

static enum MHD_Result answer_now(struct exchange *e, struct MHD_Connection *mhd) {
    struct connection *connection = connection_of(mhd);
    if (!e->answer.status) {
        /* However long the handler takes, the silence is ours. */
        server_set_deadline(e->api, connection, 0);
        MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
        handle(e, mhd);
        MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)SERVER_IDLE_S);
    }
    buf_free(&e->body);
    if (connection) {
        server_set_deadline(e->api, connection, e->stranger ? SERVER_REFUSED_S : SERVER_ANSWER_S);
    }
    return send_answer(e, mhd);
}

static size_t drain_max(const struct exchange *e) {
    return e->stranger ? DRAIN_MAX_STRANGER : DRAIN_MAX;
}

enum MHD_Result exchange_step(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                              const char *version, const char *upload_data, size_t *upload_data_size,
                              void **exchange_context) {
    struct exchange *e = *exchange_context;
    (void)context;
    (void)version;
    if (!e) {
        return MHD_NO;
    }
    if (!e->begun) {
        e->begun = true;
        begin(e, mhd, url, method);
        if (e->answer.status && connection_of(mhd)) {
            server_give_up(e->api, connection_of(mhd));
        }
        const char *length = header(mhd, "Content-Length");
        return e->closes || (length && strtoull(length, NULL, 10) > drain_max(e)) ? send_answer(e, mhd) : MHD_YES;
    }
    if (*upload_data_size > 0) {
        take_piece(e, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return e->received > drain_max(e) ? MHD_NO : MHD_YES;
    }
    return answer_now(e, mhd);
}
