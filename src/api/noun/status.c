#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/http/request.h"
#include "api/json/fields.h"
#include "api/json/view.h"
#include "api/noun/handlers.h"
#include "api/openapi.h"
#include "base/clock.h"

/* A long poll looks up this often whether the server wants to stop. */
#define WAIT_SLICE_MS 500
#define WAIT_PAUSE_MS 20
#define WAIT_MAX_S 30

struct event_query {
    uint64_t after;
    uint32_t limit, wait;
};

const struct field event_list_query[EVENT_LIST_QUERY_COUNT] = {
    {"after", FIELD_U64, .offset = offsetof(struct event_query, after)},
    {"limit", FIELD_U32, .offset = offsetof(struct event_query, limit), .least = 1, .most = FIELDS_PAGE_MAX},
    {"wait", FIELD_U32, .offset = offsetof(struct event_query, wait), .most = WAIT_MAX_S},
};

void serve_status_health(const struct request *request, struct answer *answer) {
    struct service_status status = {0};
    service_health(request->service, &status);
    /* An engine that answers but cannot be made to do its work (a busy port) is no data plane either. */
    bool carries = status.backend.up && (status.in_sync || !status.trouble[0]);
    bool well = status.store_ok && carries;
    /* A database elsewhere comes back by itself, and meanwhile packets flow: nothing that a restart would mend. */
    bool degraded = !well && carries && service_store_may_leave(request->service);
    answer_json(answer, well || degraded ? 200 : 503,
                json_pack("{s:s,s:s,s:s,s:s}", "status",
                          well       ? "ok"
                          : degraded ? "degraded"
                                     : "unavailable",
                          "version", SALLYPORT_VERSION, "store", status.store_ok ? "ok" : "unavailable", "backend",
                          carries ? "ok" : "unavailable"));
    answer->type = ANSWER_JSON;
}

void serve_status_openapi(const struct request *request, struct answer *answer) {
    (void)request;
    buf_append(&answer->body, openapi_document, openapi_document_size);
    answer->status = 200;
    answer->type = ANSWER_JSON;
}

static json_t *gateway_view(struct service *service, const struct service_status *s) {
    struct service_gateway g;
    char key[KEY_BASE64_SIZE], hub[IP_TEXT_SIZE], hub6[IP_TEXT_SIZE], pool[PREFIX_TEXT_SIZE], ula[PREFIX_TEXT_SIZE];
    service_gateway(service, &g);
    return json_pack("{s:o,s:o,s:o,s:o,s:i,s:i,s:s,s:s,s:s,s:s,s:s,s:i}", "name", view_text(s->gateway_name), "region",
                     view_text(s->gateway_region), "warning", s->warning[0] ? view_text(s->warning) : json_null(),
                     "endpoint", view_text(g.endpoint_host), "port", (int)g.endpoint_port, "listen_port",
                     (int)s->backend.listen_port, "public_key", key_to_base64(&g.public_key, key), "hub_address",
                     ip_format(&g.hub_address, hub), "hub_address6", ip_format(&g.hub_address6, hub6), "pool",
                     prefix_format(&g.pool, pool), "ula", prefix_format(&g.ula, ula), "mtu", (int)g.mtu);
}

/* "uso:unsupported,gso:switched_off" as an object. */
static json_t *reasons_view(const char *text) {
    json_t *object = json_object();
    char copy[sizeof((struct backend_state *)NULL)->offloads_off];
    char *rest = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        char *reason = strchr(item, ':');
        if (reason) {
            *reason++ = 0;
            json_object_set_new(object, item, view_text(reason));
        }
    }
    return object;
}

static json_t *backend_view(const struct service_status *s, const char *interface_name) {
    const struct backend_state *b = &s->backend;
    return json_pack("{s:s,s:o,s:b,s:o,s:i,s:o,s:o,s:o,s:o,s:o,s:o,s:i,s:s,s:o}", "name", b->name, "why",
                     view_text(s->backend_why ? s->backend_why : ""), "up", b->up ? 1 : 0, "pid",
                     b->pid ? json_integer(b->pid) : json_null(), "workers", (int)b->workers, "crypto",
                     view_text(b->crypto), "offloads", view_text(b->offloads), "offloads_off",
                     reasons_view(b->offloads_off), "memory_bytes", view_count(b->memory_bytes), "peers",
                     view_count(b->peers), "tenants", view_count(b->tenants), "listen_port", (int)b->listen_port,
                     "interface", interface_name, "warning", b->warning[0] ? view_text(b->warning) : json_null());
}

static json_t *reconcile_view(const struct service_status *s) {
    const char *state = s->in_sync ? "in-sync" : s->trouble[0] ? "failed" : "pending";
    return json_pack("{s:o,s:o,s:o,s:s,s:o}", "last_at", view_time(s->reconciled_at), "last_ms",
                     view_count(s->reconcile_ms), "mended", view_count(s->mended), "state", state, "trouble",
                     s->trouble[0] ? view_text(s->trouble) : json_null());
}

void serve_status_get(const struct request *request, struct answer *answer) {
    struct service_status s = {0};
    service_status(request->service, &s);
    const struct problem store = {.type = "store-trouble"}; /* names the database, which is not for everybody */
    const char *trouble = answer->local ? s.store_trouble : answer_detail(answer, &store);
    int64_t uptime = s.started_at ? (clock_wall_us() - s.started_at) / USEC_PER_SEC : 0;
    answer_json(answer, 200,
                json_pack("{s:s,s:o,s:o,s:o,s:o,s:{s:s,s:b,s:o,s:o},s:{s:o,s:o,s:o},s:{s:o,s:o},s:o,s:o}", "version",
                          SALLYPORT_VERSION, "started_at", view_time(s.started_at), "uptime_seconds",
                          view_count(uptime > 0 ? (uint64_t)uptime : 0), "gateway", gateway_view(request->service, &s),
                          "backend", backend_view(&s, request->interface_name), "store", "kind", s.store_kind, "ok",
                          s.store_ok ? 1 : 0, "revision", view_count(s.revision), "trouble",
                          s.store_ok || !s.store_trouble[0] ? json_null() : view_text(trouble), "counts", "tenants",
                          view_count(s.tenants), "routers", view_count(s.routers), "connected_routers",
                          view_count(s.connected_routers), "pool", "addresses_total", view_count(s.pool_total),
                          "addresses_free", view_count(s.pool_free), "reconcile", reconcile_view(&s), "memory_bytes",
                          view_count(s.memory_bytes)));
}

static int counter_add(void *object, const char *name, uint64_t value) {
    return json_object_set_new(object, name, view_count(value)) < 0 ? -1 : 0;
}

void serve_status_counters(const struct request *request, struct answer *answer) {
    struct problem problem = {0};
    json_t *counters = json_object();
    if (service_counters(request->service, counter_add, counters, &problem) < 0) {
        json_decref(counters);
        answer_problem(answer, &problem);
        return;
    }
    answer_json(answer, 200, json_pack("{s:o}", "counters", counters));
}

static void answer_events(struct answer *answer, const struct event *events, size_t count, uint64_t after,
                          const struct event_span *span) {
    answer_list_open(answer, NULL);
    for (size_t i = 0; i < count; i++) {
        answer_list_item(answer, view_event(&events[i]));
        after = events[i].revision;
    }
    answer_list_close(answer, json_pack("{s:o,s:o,s:o}", "next_after", view_count(after), "oldest",
                                        view_count(span->oldest), "newest", view_count(span->newest)));
}

/* Waits for a change that the database was not asked about yet, whoever made it. False: time is up. */
static bool await_change(const struct request *request, uint64_t after, uint64_t until, uint64_t *heard) {
    const struct timespec pause = {.tv_nsec = WAIT_PAUSE_MS * NSEC_PER_MSEC};
    uint64_t seen = *heard > after ? *heard : after;
    for (;;) {
        uint64_t now = clock_mono_ns();
        uint64_t left_ms = until > now ? (until - now) / NSEC_PER_MSEC : 0;
        if (!left_ms || request->stopping(request->stopping_context)) {
            return false;
        }
        *heard =
            service_event_await(request->service, seen, left_ms < WAIT_SLICE_MS ? (unsigned)left_ms : WAIT_SLICE_MS);
        if (*heard > seen) {
            nanosleep(&pause, NULL); /* what others do meanwhile is asked for at once */
            return true;
        }
    }
}

void serve_status_events(const struct request *request, struct answer *answer) {
    struct event_query query;
    struct event_span span = {0};
    struct problem problem = {0};
    size_t count = 0;
    int error;
    if (!request_read_query(request, &query, sizeof query, answer)) {
        return;
    }
    size_t limit = query.limit ? query.limit : FIELDS_PAGE_DEFAULT;
    struct event *events = calloc(limit, sizeof *events);
    if (!events) {
        answer_out_of_memory(answer);
        return;
    }
    uint64_t until = clock_mono_ns() + query.wait * NSEC_PER_SEC;
    uint64_t heard = service_event_await(request->service, 0, 0);
    do {
        error = service_event_list(request->service, &request->caller, query.after, limit, 0, events, &count, &span,
                                   &problem);
    } while (error == 0 && count == 0 && await_change(request, query.after, until, &heard));
    if (error < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_events(answer, events, count, query.after, &span);
    }
    free(events);
}
