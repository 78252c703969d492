#include "cli/talk/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <grp.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wipe.h"
#include "cli/cli.h"
#include "cli/show/field.h"

#define ANSWER_MAX (256u << 20) /* a bulk answer of 10,000 routers with their configurations is about 10 MB */

struct client {
    CURL *curl;
    char *base;   /* "http://localhost" */
    char *socket; /* NULL over TCP */
    char *bearer; /* "Authorization: Bearer ...": a secret; NULL: none */
};

static int bearer_set(struct client *c, const char *token, struct buf *fault) {
    size_t size = strcspn(token, "\r\n");
    if (size == 0 || token[size + strspn(token + size, "\r\n")]) {
        buf_text(fault, "the token must be one line that is not empty");
        return -EINVAL;
    }
    return asprintf(&c->bearer, "Authorization: Bearer %.*s", (int)size, token) < 0 ? -ENOMEM : 0;
}

static int bearer_read(struct client *c, const char *path, struct buf *fault) {
    char token[512] = "";
    FILE *file = fopen(path, "re");
    if (!file) {
        int error = -errno;
        buf_printf(fault, "the token file %s cannot be read: %s", path, strerror(-error));
        return error;
    }
    token[fread(token, 1, sizeof token - 1, file)] = '\0';
    fclose(file);
    int error = bearer_set(c, token, fault);
    explicit_bzero(token, sizeof token);
    return error;
}

static const char *socket_default(void) {
    static const char *const places[] = {"/run/sallyport/api.sock", "./var/run/api.sock"};
    return access(places[0], F_OK) < 0 && access(places[1], F_OK) == 0 ? places[1] : places[0];
}

int client_open(const struct client_config *config, struct client **ret_client, struct buf *ret_fault) {
    int error = -ENOMEM;
    struct client *c = calloc(1, sizeof *c);
    if (!c) {
        return -ENOMEM;
    }
    json_set_alloc_funcs(malloc, wipe_free); /* strings may be private keys */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->curl = curl_easy_init();
    c->base = strdup(config->url ? config->url : "http://localhost");
    if (!c->curl || !c->base) {
        goto fail;
    }
    if (config->url) {
        if (strncmp(config->url, "http://", 7) != 0 && strncmp(config->url, "https://", 8) != 0) {
            buf_printf(ret_fault, "the URL must begin with http:// or https://, not \"%s\"", config->url);
            error = -EINVAL;
            goto fail;
        }
        for (size_t n = strlen(c->base); n > 0 && c->base[n - 1] == '/'; n--) {
            c->base[n - 1] = '\0';
        }
        error = config->token_file ? bearer_read(c, config->token_file, ret_fault)
                : config->token    ? bearer_set(c, config->token, ret_fault)
                                   : 0;
        if (error < 0) {
            goto fail;
        }
    } else {
        c->socket = strdup(config->socket ? config->socket : socket_default());
        if (!c->socket) {
            goto fail;
        }
    }
    *ret_client = c;
    return 0;
fail:
    client_close(c);
    return error;
}

void client_close(struct client *c) {
    if (!c) {
        return;
    }
    if (c->curl) {
        curl_easy_cleanup(c->curl);
    }
    if (c->bearer) {
        explicit_bzero(c->bearer, strlen(c->bearer));
    }
    free(c->bearer);
    free(c->socket);
    free(c->base);
    free(c);
    curl_global_cleanup();
}

static size_t receive(char *bytes, size_t one, size_t count, void *context) {
    struct buf *text = context;
    if (text->size + one * count > ANSWER_MAX) {
        return 0;
    }
    buf_append(text, bytes, one * count);
    return text->failed ? 0 : one * count;
}

/* Why there was no answer, and what to do about it. */
static int transport_fault(const struct client *c, CURLcode code, struct buf *fault) {
    long os_error = 0;
    curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &os_error);
    int error = os_error ? (int)-os_error : -EIO;
    if (code == CURLE_OPERATION_TIMEDOUT) {
        buf_printf(fault, "the gateway did not answer in time; see its log, and try again");
        return -ETIMEDOUT;
    }
    if (c->socket && error == -EACCES) {
        struct stat st;
        const struct group *group = stat(c->socket, &st) == 0 ? getgrgid(st.st_gid) : NULL;
        buf_printf(fault, "%s is not open to you: run this as root, or add yourself to the group \"%s\"", c->socket,
                   group && st.st_gid ? group->gr_name : "sallyport");
    } else if (c->socket && (error == -ENOENT || error == -ECONNREFUSED || code == CURLE_COULDNT_CONNECT)) {
        buf_printf(fault,
                   "no gateway answers at %s (%s): start it with \"systemctl start sallyportd\", or say where it is "
                   "with --socket or --url",
                   c->socket, os_error ? strerror((int)os_error) : curl_easy_strerror(code));
    } else {
        buf_printf(fault, "no answer from %s: %s", c->socket ? c->socket : c->base, curl_easy_strerror(code));
    }
    return error;
}

static int headers_make(const struct client *c, const struct client_request *request, struct curl_slist **ret_headers) {
    struct curl_slist *headers = NULL, *more;
    char idempotency[192], made[33];
    const char *lines[4] = {0};
    size_t count = 0;
    if (request->body) {
        lines[count++] = "Content-Type: application/json";
        lines[count++] = "Expect:"; /* no round trip before a large body */
    }
    if (c->bearer) {
        lines[count++] = c->bearer;
    }
    if (strcmp(request->method, "POST") == 0) {
        unsigned char bytes[16];
        randombytes_buf(bytes, sizeof bytes);
        snprintf(idempotency, sizeof idempotency, "Idempotency-Key: %s",
                 request->idempotency_key ? request->idempotency_key
                                          : sodium_bin2hex(made, sizeof made, bytes, sizeof bytes));
        lines[count++] = idempotency;
    }
    for (size_t i = 0; i < count; i++) {
        more = curl_slist_append(headers, lines[i]);
        if (!more) {
            curl_slist_free_all(headers);
            return -ENOMEM;
        }
        headers = more;
    }
    *ret_headers = headers;
    return 0;
}

/* The connection ended in the middle: the gateway was restarted, or ended an idle one just then. Nobody knows whether
 * the request was done; asked again under its Idempotency-Key, it is done once. */
static bool is_cut_off(CURLcode code) {
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE;
}

int client_call(struct client *c, const struct client_request *request, struct client_answer *ret_answer,
                struct buf *ret_fault) {
    struct client_answer answer = {0};
    struct curl_slist *headers = NULL;
    struct buf url = {0};
    char *body = NULL;
    long status = 0;
    int error = -ENOMEM;
    CURLcode code;

    buf_printf(&url, "%s%s", c->base, request->path);
    if (request->body && !(body = json_dumps(request->body, JSON_COMPACT))) {
        goto fail;
    }
    if (url.failed || headers_make(c, request, &headers) < 0) {
        goto fail;
    }
    curl_easy_reset(c->curl); /* keeps the connection */
    curl_easy_setopt(c->curl, CURLOPT_URL, url.data);
    curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &answer.text);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, request->timeout_s ? request->timeout_s : 60L);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
    if (body) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
    }
    code = curl_easy_perform(c->curl);
    if (is_cut_off(code) && strcmp(request->method, "DELETE") != 0) {
        buf_clear(&answer.text);
        code = curl_easy_perform(c->curl);
    }
    if (code != CURLE_OK) {
        error = transport_fault(c, code, ret_fault);
        goto fail;
    }
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    answer.status = (int)status;
    if (answer.text.size) {
        answer.json = json_loadb(answer.text.data, answer.text.size, 0, NULL);
    }
    *ret_answer = answer;
    answer = (struct client_answer){0};
    error = 0;
fail:
    if (body) {
        explicit_bzero(body, strlen(body));
        free(body);
    }
    client_answer_free(&answer);
    curl_slist_free_all(headers);
    buf_free(&url);
    return error;
}

void client_answer_free(struct client_answer *answer) {
    buf_free(&answer->text);
    json_decref(answer->json);
    answer->json = NULL;
}

void client_query(struct buf *path, const char *name, const char *value) {
    if (value) {
        char *escaped = curl_easy_escape(NULL, value, 0);
        buf_printf(path, "%c%s=%s", path->data && strchr(path->data, '?') ? '&' : '?', name, escaped ? escaped : "");
        path->failed = path->failed || !escaped;
        curl_free(escaped);
    }
}

void client_problem_print(int status, const json_t *problem) {
    const char *detail = field_text(problem, "detail"), *title = field_text(problem, "title");
    const char *field = field_text(problem, "field");
    const char *said = detail[0] ? detail : title;
    if (status == 401) {
        cli_error("the gateway requires a valid token: %s", said[0] ? said : "name a file with --token-file");
    } else if (!said[0]) {
        cli_error("the gateway refused (HTTP status %d) without saying why; see its log", status);
    } else if (field[0]) {
        cli_error("%s (%s)", said, field);
    } else {
        cli_error("%s", said);
    }
}

/* An answer of 2xx, or false after saying what is wrong. */
static bool call(struct cli *cli, const char *method, const char *path, const json_t *body,
                 struct client_answer *ret_answer) {
    struct buf fault = {0};
    struct client_request request = {.method = method, .path = path, .body = body};
    struct client *client = client_of(cli);
    if (!client) {
        return false;
    }
    if (client_call(client, &request, ret_answer, &fault) < 0) {
        cli_error("%s", fault.data ? fault.data : "out of memory");
        buf_free(&fault);
        return false;
    }
    if (ret_answer->status < 200 || ret_answer->status > 299) {
        client_problem_print(ret_answer->status, ret_answer->json);
        client_answer_free(ret_answer);
        return false;
    }
    return true;
}

struct client *client_of(struct cli *cli) {
    if (!cli->client) {
        struct buf fault = {0};
        const char *socket = cli_value(cli, "socket"), *url = cli_value(cli, "url");
        struct client_config config = {
            .socket = socket ? socket : getenv("SALLYPORT_SOCKET"),
            .url = url ? url : getenv("SALLYPORT_URL"),
            .token_file = cli_value(cli, "token-file"),
            .token = getenv("SALLYPORT_TOKEN"),
        };
        /* what stands on the command line wins over the environment */
        if (socket && !url) {
            config.url = NULL;
        }
        if (client_open(&config, &cli->client, &fault) < 0) {
            cli_error("%s", fault.data ? fault.data : "out of memory");
        }
        buf_free(&fault);
    }
    return cli->client;
}

json_t *client_json(struct cli *cli, const char *method, const char *path, const json_t *body) {
    struct client_answer answer;
    if (!call(cli, method, path, body, &answer)) {
        return NULL;
    }
    json_t *json = answer.json ? json_incref(answer.json) : NULL;
    if (!json && answer.text.size) {
        cli_error("what answered is not a Sallyport gateway: its answer is not JSON; check --socket or --url");
    } else if (!json) {
        json = json_object();
    }
    client_answer_free(&answer);
    return json;
}

int client_text(struct cli *cli, const char *path, struct buf *ret_text) {
    struct client_answer answer;
    if (!call(cli, "GET", path, NULL, &answer)) {
        return -1;
    }
    buf_append(ret_text, answer.text.data, answer.text.size);
    client_answer_free(&answer);
    return 0;
}
