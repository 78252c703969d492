/* A server over the fake service on sockets of its own, and requests to it as bytes. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/api.h"

struct http_server {
    char folder[64];
    char path[96];
    char tcp[32]; /* "" without TCP */
    struct api *api;
};

struct http_reply {
    int status; /* 0: the connection ended without an answer */
    char head[4096];
    char *body; /* owned */
    size_t size;
    json_t *json; /* owned; NULL if it is none */
};

void http_open(struct http_server *server, bool tcp, unsigned request_s);
void http_close(struct http_server *server);

/* Connected; to the Unix socket, or to TCP. */
int http_connect(const struct http_server *server, bool tcp);
/* The whole answer of a connection that the server closes. */
struct http_reply http_read(int fd);
/* `headers` are lines with "\r\n" each, or "". */
struct http_reply http_call(const struct http_server *server, const char *method, const char *target,
                            const char *headers, const char *body);
struct http_reply http_send(const struct http_server *server, bool tcp, const char *bytes, size_t size);
void http_free(struct http_reply *reply);

/* A member of the answer, by path: "items.1.problem.field". NULL if there is none. */
const json_t *http_member(const struct http_reply *reply, const char *path);
const char *http_text(const struct http_reply *reply, const char *path);
/* The header's value in `value`, or false. */
bool http_header(const struct http_reply *reply, const char *name, char value[256]);
