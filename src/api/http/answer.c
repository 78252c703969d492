#include "api/http/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/json/view.h"

static const char out_of_memory[] =
    "{\"type\":\"urn:sallyport:problem:out-of-memory\",\"title\":\"Out of memory\",\"status\":503,"
    "\"detail\":\"Out of memory; try again.\"}";

static int append_piece(const char *piece, size_t size, void *out) {
    buf_append(out, piece, size);
    return ((struct buf *)out)->failed ? -1 : 0;
}

void answer_append(struct buf *out, json_t *value) {
    if (!value || json_dump_callback(value, append_piece, out, JSON_COMPACT) < 0) {
        out->failed = true;
    }
    json_decref(value);
}

/* Written without an allocation of jansson's: there was none to be had. */
void answer_out_of_memory(struct answer *answer) {
    buf_free(&answer->body);
    buf_text(&answer->body, out_of_memory);
    answer->status = 503;
    answer->type = ANSWER_PROBLEM;
    answer->location[0] = '\0';
}

static void finish(struct answer *answer, int status) {
    answer->status = status;
    answer->type = status >= 400 ? ANSWER_PROBLEM : ANSWER_JSON;
    if (answer->body.failed) {
        answer_out_of_memory(answer);
    }
}

void answer_json(struct answer *answer, int status, json_t *value) {
    buf_clear(&answer->body);
    answer_append(&answer->body, value);
    finish(answer, status);
}

void answer_created(struct answer *answer, const char *path, const struct uuid *id, json_t *value) {
    char text[UUID_TEXT_SIZE];
    snprintf(answer->location, sizeof answer->location, "%s%s", path, uuid_format(id, text));
    answer_json(answer, 201, value);
}

/* An object's members without its braces. */
static void append_members(struct buf *out, json_t *object) {
    if (!object || json_dump_callback(object, append_piece, out, JSON_COMPACT | JSON_EMBED) < 0) {
        out->failed = true;
    }
    json_decref(object);
}

void answer_list_open(struct answer *answer, json_t *head) {
    buf_clear(&answer->body);
    buf_text(&answer->body, "{");
    if (head) {
        append_members(&answer->body, head);
        buf_text(&answer->body, ",");
    }
    buf_text(&answer->body, "\"items\":[");
}

void answer_list_item(struct answer *answer, json_t *item) {
    if (answer->body.size && answer->body.data[answer->body.size - 1] != '[') {
        buf_text(&answer->body, ",");
    }
    answer_append(&answer->body, item);
}

void answer_list_close(struct answer *answer, json_t *tail) {
    buf_text(&answer->body, "]");
    if (tail) {
        buf_text(&answer->body, ",");
        append_members(&answer->body, tail);
    }
    buf_text(&answer->body, "}");
    finish(answer, 200);
}

void answer_empty(struct answer *answer, int status) {
    buf_clear(&answer->body);
    answer->status = status;
    answer->type = NULL;
}

/* A problem of the database's names it: its file, its server, its user. That is for those who run the gateway. */
static const struct {
    const char *type, *detail;
} kept_back[] = {
    {PROBLEM_STORE_AWAY, "The database does not answer; nothing was changed. It is tried again and again."},
    {PROBLEM_STORE_AGAIN, "The database broke the change off in favour of another; nothing was changed. Try again."},
    {PROBLEM_STORE_LOCKED, "The database is busy with other work; nothing was changed. Try again."},
    {PROBLEM_STORE_NEWER,
     "The database is that of a newer version of the gateway, which has to be installed here too."},
    {"store-unknown",
     "The connection to the database was lost while the change was made durable; whether it was is not known "
     "yet. Look before you repeat it."},
    {"store-full", "The database has no room left; nothing was changed."},
    {"store-read-only", "The database cannot be written; nothing was changed."},
    {"", "The database reported a problem, and the gateway's log says which, under this request's X-Request-Id."},
};

const char *answer_detail(struct answer *answer, const struct problem *p) {
    size_t i = 0;
    if (answer->local || strncmp(p->type, "store-", 6) != 0) {
        return p->detail;
    }
    snprintf(answer->cause, sizeof answer->cause, "%s", p->detail);
    while (kept_back[i].type[0] && strcmp(kept_back[i].type, p->type) != 0) {
        i++;
    }
    return kept_back[i].detail;
}

void answer_problem(struct answer *answer, const struct problem *p) {
    int status = problem_status(p->kind);
    answer_json(answer, status, view_problem(status, p->type, p->field, answer_detail(answer, p)));
    answer->store = strcmp(p->type, PROBLEM_STORE_AWAY) == 0    ? ANSWER_STORE_AWAY
                    : strcmp(p->type, PROBLEM_STORE_AGAIN) == 0 ? ANSWER_STORE_AGAIN
                                                                : ANSWER_STORE_FINE;
}

void answer_refuse(struct answer *answer, int status, const char *type, const char *field, const char *format, ...) {
    char detail[512];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    answer_json(answer, status, view_problem(status, type, field ? field : "", detail));
}

void answer_free(struct answer *answer) {
    if (answer) {
        if (answer->more_end) {
            answer->more_end(answer->more_context);
        }
        buf_free(&answer->body);
        *answer = (struct answer){.local = answer->local};
    }
}
