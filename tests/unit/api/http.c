#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/http/listen.h"
#include "base/buf.h"
#include "fake_service.h"

void http_open(struct http_server *server, bool tcp, unsigned request_s) {
    struct problem problem;
    struct api_config config = {.unix_fd = -1, .tcp_fd = -1, .interface_name = "wg0", .request_s = request_s};
    *server = (struct http_server){.folder = "/tmp/sallyport-api-XXXXXX"};
    assert_non_null(mkdtemp(server->folder));
    snprintf(server->path, sizeof server->path, "%s/api.sock", server->folder);
    assert_int_equal(listen_unix(server->path, false, 0, &config.unix_fd, &problem), 0);
    if (tcp) {
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof addr;
        config.tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(config.tcp_fd, (struct sockaddr *)&addr, sizeof addr), 0);
        assert_int_equal(listen(config.tcp_fd, 8), 0);
        getsockname(config.tcp_fd, (struct sockaddr *)&addr, &size);
        snprintf(server->tcp, sizeof server->tcp, "%u", ntohs(addr.sin_port));
    }
    fake_reset();
    assert_int_equal(api_start(&config, &server->api), 0);
}

void http_close(struct http_server *server) {
    api_stop(server->api);
    unlink(server->path);
    rmdir(server->folder);
}

int http_connect(const struct http_server *server, bool tcp) {
    const struct timeval patience = {.tv_sec = 20};
    int fd;
    if (tcp) {
        struct sockaddr_in addr = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(server->tcp)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    } else {
        struct sockaddr_un addr = {.sun_family = AF_UNIX};
        snprintf(addr.sun_path, sizeof addr.sun_path, "%s", server->path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

struct http_reply http_read(int fd) {
    struct http_reply reply = {0};
    size_t room = 1 << 16, size = 0;
    char *text = malloc(room);
    for (ssize_t n; (n = read(fd, text + size, room - size - 1)) > 0;) {
        size += (size_t)n;
        if (size + 1 == room) {
            room *= 2;
            text = realloc(text, room);
        }
    }
    close(fd);
    text[size] = '\0';
    char *body = strstr(text, "\r\n\r\n");
    if (body && sscanf(text, "HTTP/1.1 %d", &reply.status) == 1) {
        body[2] = '\0';
        snprintf(reply.head, sizeof reply.head, "%s", text);
        reply.size = size - (size_t)(body + 4 - text);
        reply.body = malloc(reply.size + 1);
        memcpy(reply.body, body + 4, reply.size + 1);
        reply.json = json_loadb(reply.body, reply.size, JSON_REJECT_DUPLICATES, NULL);
    }
    free(text);
    return reply;
}

struct http_reply http_send(const struct http_server *server, bool tcp, const char *bytes, size_t size) {
    int fd = http_connect(server, tcp);
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, bytes + at, size - at, MSG_NOSIGNAL);
        if (n < 0) {
            break; /* an early answer may close our sending side */
        }
        at += (size_t)n;
    }
    return http_read(fd);
}

struct http_reply http_call(const struct http_server *server, const char *method, const char *target,
                            const char *headers, const char *body) {
    struct buf text = {0};
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", method, target, headers);
    if (body) {
        buf_printf(&text, "Content-Length: %zu\r\n%s\r\n", strlen(body),
                   strcasestr(headers, "content-type") ? "" : "Content-Type: application/json\r\n");
        buf_text(&text, body);
    } else {
        buf_text(&text, "\r\n");
    }
    struct http_reply reply = http_send(server, false, text.data, text.size);
    buf_free(&text);
    return reply;
}

void http_free(struct http_reply *reply) {
    free(reply->body);
    json_decref(reply->json);
    *reply = (struct http_reply){0};
}

const json_t *http_member(const struct http_reply *reply, const char *path) {
    const json_t *at = reply->json;
    char copy[128];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *save, *name = strtok_r(copy, ".", &save); name && at; name = strtok_r(NULL, ".", &save)) {
        at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10)) : json_object_get(at, name);
    }
    return at;
}

const char *http_text(const struct http_reply *reply, const char *path) {
    const char *text = json_string_value(http_member(reply, path));
    return text ? text : "(none)";
}

bool http_header(const struct http_reply *reply, const char *name, char value[256]) {
    for (const char *line = strstr(reply->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        size_t size = strlen(name);
        if (strncasecmp(line + 2, name, size) == 0 && line[2 + size] == ':') {
            const char *at = line + 2 + size + 1;
            at += strspn(at, " ");
            snprintf(value, 256, "%.*s", (int)strcspn(at, "\r"), at);
            return true;
        }
    }
    return false;
}
