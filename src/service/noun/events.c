/* The feed of changes as events, with a long poll. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "service/noun/noun.h"

/* "token:billing (ID)" as name and id. Of before ids were written there is only the name. */
static void split_actor(const char *actor, struct event *event) {
    size_t size = strlen(actor);
    char id[UUID_TEXT_SIZE] = "";
    snprintf(event->actor, sizeof event->actor, "%s", actor);
    if (strncmp(actor, "token:", 6) != 0 || size < UUID_TEXT_SIZE + 2 || actor[size - 1] != ')') {
        return;
    }
    size_t name = size - (UUID_TEXT_SIZE - 1) - 3; /* " (", the id, ")" */
    memcpy(id, actor + name + 2, UUID_TEXT_SIZE - 1);
    if (strncmp(actor + name, " (", 2) == 0 && uuid_parse(id, &event->token_id) == 0) {
        event->actor[name] = '\0';
    }
}

/* The ends are read last: what is forgotten meanwhile is rather said to be missing than missed unsaid. */
static int list(struct service *s, uint64_t after, const struct uuid *tenant_id, size_t limit, struct change_row *rows,
                size_t *ret_count, struct event_span *ret_span, struct problem *ret_problem) {
    struct store_conn *conn;
    int r = store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    r = changes_list(conn, after, tenant_id, limit, rows, ret_count);
    r = r < 0 ? r : changes_span(conn, &ret_span->oldest, &ret_span->newest);
    r = r < 0 ? store_problem(conn, r, ret_problem) : 0;
    store_reader_put(s->store, conn);
    return r;
}

static struct timespec after_ms(unsigned wait_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

uint64_t service_event_await(struct service *s, uint64_t seen, unsigned wait_ms) {
    const struct timespec until = after_ms(wait_ms);
    uint64_t revision = ledger_revision(s->ledger);
    if (revision <= seen && wait_ms) {
        (void)ledger_wait(s->ledger, seen, &until, &revision);
    }
    return revision;
}

int service_event_list(struct service *s, const struct caller *c, uint64_t after, size_t limit, unsigned wait_ms,
                       struct event *ret_events, size_t *ret_count, struct event_span *ret_span,
                       struct problem *ret_problem) {
    static const struct uuid all;
    const struct uuid *tenant_id = c->scope == SCOPE_ADMIN ? &all : &c->tenant_id;
    const struct timespec until = after_ms(wait_ms);
    struct event_span span = {0};
    size_t count = 0;
    uint64_t revision;
    if (c->scope == SCOPE_METRICS) {
        return access_read(c, tenant_id, "tenant", ret_problem);
    }
    struct change_row *rows = malloc((limit + 1) * sizeof *rows);
    if (!rows) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    revision = ledger_revision(s->ledger);
    /* The revision was read before the list: whatever is committed in between ends the wait at once. */
    int r = list(s, after, tenant_id, limit, rows, &count, &span, ret_problem);
    while (r == 0 && count == 0 && wait_ms &&
           ledger_wait(s->ledger, revision > after ? revision : after, &until, &revision)) {
        r = list(s, after, tenant_id, limit, rows, &count, &span, ret_problem);
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct event *event = &ret_events[i];
        *event = (struct event){.revision = rows[i].revision,
                                .at = rows[i].at,
                                .tenant_id = rows[i].tenant_id,
                                .router_id = rows[i].router_id};
        snprintf(event->kind, sizeof event->kind, "%s", rows[i].kind);
        split_actor(rows[i].actor, event);
    }
    if (r == 0) {
        *ret_count = count;
        *ret_span = span;
    }
    free(rows);
    return r;
}
