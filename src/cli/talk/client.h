/* A client of the REST API over the Unix socket or over TCP with a token (libcurl). One connection, kept open.
 *
 * Answers own their text and JSON; client_answer_free() wipes them, since a router's answer may hold its private key
 * (and jansson is told to wipe what it frees). */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"

struct client;

struct client_config {
    const char *socket;     /* NULL: /run/sallyport/api.sock, else ./var/run/api.sock */
    const char *url;        /* NULL: the Unix socket */
    const char *token_file; /* holds the bearer token for `url` */
    const char *token;      /* the token itself (from the environment); `token_file` wins */
};

struct client_answer {
    int status; /* HTTP */
    struct buf text;
    json_t *json; /* NULL if the body is not JSON */
};

struct client_request {
    const char *method;
    const char *path;            /* "/v1/..." with its query; see client_query() */
    const json_t *body;          /* NULL: none */
    const char *idempotency_key; /* of a POST; NULL: one of its own, for as long as client_call() tries */
    long timeout_s;              /* 0: 60 */
};

/* 0, or -errno with a sentence in `ret_fault`. Does not connect yet. */
int client_open(const struct client_config *config, struct client **ret_client, struct buf *ret_fault);
void client_close(struct client *client); /* accepts NULL */
/* 0 once there is an answer, whatever its status; else -errno with a sentence that says what to do in `ret_fault`. */
int client_call(struct client *client, const struct client_request *request, struct client_answer *ret_answer,
                struct buf *ret_fault);
void client_answer_free(struct client_answer *answer);

/* Appends "?name=value" or "&name=value", escaped. Skips a NULL value. */
void client_query(struct buf *path, const char *name, const char *value);

/* --- for commands: a refusal is printed, and only success comes back --- */

struct cli;
/* The command's connection to the gateway, opened when first asked for; NULL after an error was printed. The caller of
 * the command closes it. */
struct client *client_of(struct cli *cli);
/* The JSON of a 2xx answer (an empty object if it has no body), the caller's to json_decref(); NULL after the problem
 * was printed. */
json_t *client_json(struct cli *cli, const char *method, const char *path, const json_t *body);
/* The text of a 2xx answer in `ret_text` (append). 0, or -1 after the problem was printed. */
int client_text(struct cli *cli, const char *path, struct buf *ret_text);
/* Prints a problem (RFC 9457) as an error. */
void client_problem_print(int status, const json_t *problem);
