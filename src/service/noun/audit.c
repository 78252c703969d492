/* What a change was like before and after, as JSON for the audit log. No secret goes in: of a preshared key it says
 * that there is one. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "service/noun/noun.h"

static void put_text(struct buf *out, const char *name, const char *text) {
    buf_printf(out, "%s\"%s\":\"", out->size > 1 ? "," : "", name);
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\') {
            buf_printf(out, "\\%c", *at);
        } else if ((unsigned char)*at < 0x20) {
            buf_printf(out, "\\u%04x", (unsigned)*at);
        } else {
            buf_append(out, at, 1);
        }
    }
    buf_text(out, "\"");
}

static void put_flag(struct buf *out, const char *name, bool flag) {
    buf_printf(out, "%s\"%s\":%s", out->size > 1 ? "," : "", name, flag ? "true" : "false");
}

static void put_tenant(struct buf *out, const struct tenant *t) {
    char subnet[PREFIX_TEXT_SIZE];
    buf_text(out, "{");
    put_text(out, "name", t->name);
    put_text(out, "addressing", addressing_name(t->addressing));
    put_text(out, "status", tenant_status_name(t->status));
    put_text(out, "subnet", prefix_format(&t->subnet, subnet));
    put_flag(out, "egress", t->egress);
    buf_printf(out,
               ",\"limits\":{\"bits_per_second\":%" PRIu64 ",\"packets_per_second\":%" PRIu64 ",\"routers\":%" PRIu32
               "}}",
               t->limits.bits_per_second, t->limits.packets_per_second, t->limits.routers);
}

static void put_router(struct buf *out, const struct router *r) {
    char key[KEY_BASE64_SIZE], address[IP_TEXT_SIZE], lan[PREFIX_TEXT_SIZE];
    buf_text(out, "{");
    put_text(out, "name", r->name);
    put_text(out, "status", router_status_name(r->status));
    put_text(out, "public_key", key_to_base64(&r->public_key, key));
    put_flag(out, "has_preshared_key", !key_is_zero(&r->preshared_key));
    put_text(out, "address", ip_format(&r->address, address));
    buf_text(out, ",\"lans\":[");
    for (uint32_t i = 0; i < r->lan_count; i++) {
        buf_printf(out, "%s\"%s\"", i ? "," : "", prefix_format(&r->lans[i], lan));
    }
    buf_text(out, "]}");
}

static void put_token(struct buf *out, const struct token *t) {
    char id[UUID_TEXT_SIZE], at[CLOCK_TEXT_SIZE];
    buf_text(out, "{");
    put_text(out, "id", uuid_format(&t->id, id));
    put_text(out, "name", t->name);
    put_text(out, "scope", scope_name(t->scope));
    if (t->expires_at) {
        put_text(out, "expires_at", clock_format(t->expires_at, at));
    }
    buf_text(out, "}");
}

/* Takes the texts. */
static int tell(struct write *w, struct buf *before, struct buf *after) {
    int r = before->failed || after->failed ? -ENOMEM : write_tell(w, before->data, after->data);
    buf_free(before);
    buf_free(after);
    return r;
}

int audit_tenant(struct write *w, const struct tenant *before, const struct tenant *after) {
    struct buf old = {0}, new = {0};
    if (before) {
        put_tenant(&old, before);
    }
    if (after) {
        put_tenant(&new, after);
    }
    return tell(w, &old, &new);
}

int audit_router(struct write *w, const struct router *before, const struct router *after) {
    struct buf old = {0}, new = {0};
    if (before) {
        put_router(&old, before);
    }
    if (after) {
        put_router(&new, after);
    }
    return tell(w, &old, &new);
}

int audit_token(struct write *w, const struct token *before, const struct token *after) {
    struct buf old = {0}, new = {0};
    if (before) {
        put_token(&old, before);
    }
    if (after) {
        put_token(&new, after);
    }
    return tell(w, &old, &new);
}

int service_audit_list(struct service *s, const struct caller *c, const struct audit_filter *filter, const char *cursor,
                       size_t limit, struct audit_row *ret_rows, size_t *ret_count, char ret_next[64],
                       struct problem *ret_problem) {
    struct store_conn *conn;
    int64_t before = 0;
    size_t count = 0;
    int r = access_admin(c, NULL, ret_problem);
    r = r < 0 ? r : access_cursor(cursor, &before, ret_problem);
    r = r < 0 ? r : store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    r = audit_list(conn, filter, (uint64_t)before, limit, ret_rows, &count);
    r = r < 0 ? store_problem(conn, r, ret_problem) : 0;
    store_reader_put(s->store, conn);
    if (r == 0) {
        *ret_count = count;
        ret_next[0] = '\0';
        if (count == limit) {
            snprintf(ret_next, 64, "p%" PRIx64, ret_rows[count - 1].revision);
        }
    }
    return r;
}
