/* The routers as the text that `wg setconf` reads, page by page: so that nobody is locked in. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/request.h"
#include "api/noun/handlers.h"
#include "service/noun/export.h"

#define PAGE 500

struct export_query {
    struct uuid tenant_id;
};

const struct field export_query[EXPORT_QUERY_COUNT] = {
    {"tenant_id", FIELD_UUID, .offset = offsetof(struct export_query, tenant_id)},
};

struct exporting {
    struct service *service;
    struct caller caller;
    struct uuid tenant_id;
    int64_t after;
    bool ended;
    size_t peers, silent, private_ones, broken;
    struct exported_router page[PAGE]; /* secret */
};

static const char head[] =
    "# The routers of a Sallyport gateway as plain WireGuard peers. \"wg setconf INTERFACE FILE\" loads it.\n"
    "# Plain WireGuard knows no tenants: it keeps nobody apart, limits nobody, and translates no addresses.\n"
    "[Interface]\n"
    "ListenPort = %u\n"
    "# The gateway's server.key belongs here. Without a key, setconf would take the interface's away: so it refuses\n"
    "# this line until it is replaced (sallyport export --private-key-file does that).\n"
    "PrivateKey = REPLACE-WITH-THE-LINE-IN-server.key\n";

static void put_prefix(struct buf *out, const char *separator, const struct prefix *prefix) {
    char text[PREFIX_TEXT_SIZE];
    buf_printf(out, "%s%s", separator, prefix_format(prefix, text));
}

static void put_peer(const struct exported_router *r, struct buf *out) {
    const struct router *router = &r->router;
    const struct prefix address = prefix_make(&router->address, ip_bits(&router->address));
    const struct prefix address6 = prefix_make(&router->address6, ip_bits(&router->address6));
    char key[KEY_BASE64_SIZE], endpoint[ENDPOINT_TEXT_SIZE];
    buf_printf(out, "\n# Tenant = %s\n# Name = %s\n[Peer]\nPublicKey = %s\n", r->tenant_name, router->name,
               key_to_base64(&router->public_key, key));
    if (!key_is_zero(&router->preshared_key)) {
        buf_printf(out, "PresharedKey = %s\n", key_to_base64(&router->preshared_key, key));
        sodium_memzero(key, sizeof key);
    }
    put_prefix(out, "AllowedIPs = ", &address);
    put_prefix(out, ", ", &address6);
    for (uint32_t i = 0; i < router->lan_count; i++) {
        put_prefix(out, ", ", &router->lans[i]);
    }
    buf_text(out, "\n");
    if (endpoint_format(&router->endpoint, endpoint)[0]) {
        buf_printf(out, "Endpoint = %s\n", endpoint);
    }
}

static void put_left_out(const struct exported_router *r, const char *why, struct buf *out) {
    buf_printf(out, "\n# Left out, %s: %s / %s\n", why, r->tenant_name, r->router.name);
}

static void put(struct exporting *e, const struct exported_router *r, struct buf *out) {
    if (r->silent) {
        e->silent++;
        put_left_out(r, "since it is disabled", out);
    } else if (r->addressing == ADDRESSING_PRIVATE) {
        e->private_ones++;
        put_left_out(r, "since its tenant's addressing is private, which plain WireGuard cannot translate", out);
    } else if (r->seal_broken) {
        e->broken++;
        put_left_out(r, "since its preshared key cannot be read (rotate its keys)", out);
    } else {
        e->peers++;
        put_peer(r, out);
    }
}

/* 1: there may be more, 0: the end, or -errno: the answer breaks off. */
static int more(void *context, struct buf *out) {
    struct exporting *e = context;
    struct problem problem = {0};
    size_t count = 0;
    if (e->ended) {
        return 0;
    }
    int error = service_export_list(e->service, &e->caller, &e->tenant_id, &e->after, PAGE, e->page, &count, &problem);
    if (error < 0) {
        return error;
    }
    for (size_t i = 0; i < count; i++) {
        put(e, &e->page[i], out);
    }
    sodium_memzero(e->page, sizeof e->page);
    if (count < PAGE) {
        e->ended = true;
        buf_printf(out, "\n# End: %zu peers; left out: %zu disabled, %zu private, %zu unreadable\n", e->peers,
                   e->silent, e->private_ones, e->broken);
    }
    return 1;
}

static void end(void *context) {
    sodium_memzero(context, sizeof(struct exporting));
    free(context);
}

void serve_export(const struct request *request, struct answer *answer) {
    struct export_query query;
    struct problem problem = {0};
    struct service_status status = {0};
    if (!request_read_query(request, &query, sizeof query, answer)) {
        return;
    }
    struct exporting *e = calloc(1, sizeof *e);
    if (!e) {
        answer_out_of_memory(answer);
        return;
    }
    e->service = request->service;
    e->caller = request->caller;
    e->tenant_id = query.tenant_id;
    service_status(request->service, &status);
    buf_printf(&answer->body, head, status.backend.listen_port);
    /* The first page is read here: what is wrong is a refusal, not an answer that breaks off. */
    int error =
        service_export_list(e->service, &e->caller, &e->tenant_id, &e->after, 1, e->page, &(size_t){0}, &problem);
    e->after = 0;
    sodium_memzero(e->page, sizeof e->page[0]);
    if (error < 0) {
        end(e);
        buf_clear(&answer->body);
        answer_problem(answer, &problem);
        return;
    }
    answer->status = 200;
    answer->type = "text/plain; charset=utf-8";
    answer->more = more;
    answer->more_end = end;
    answer->more_context = e;
}
