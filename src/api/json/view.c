#include "api/json/view.h"

#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json/memory.h"
#include "base/clock.h"

void view_setup(void) {
    memory_setup();
    json_object_seed(0);
}

json_t *view_text(const char *text) {
    json_t *made = json_string(text);
    if (made) {
        return made;
    }
    size_t size = strlen(text);
    char *clean = malloc(size + 1);
    if (!clean) {
        return NULL;
    }
    for (size_t i = 0; i <= size; i++) {
        clean[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    }
    made = json_string(clean);
    free(clean);
    return made;
}

/* For text we made ourselves, ASCII throughout. */
static void set(json_t *object, const char *name, json_t *value) {
    json_object_set_new_nocheck(object, name, value);
}

static void set_ascii(json_t *object, const char *name, const char *text) {
    set(object, name, json_string_nocheck(text));
}

json_t *view_uuid(const struct uuid *id) {
    char text[UUID_TEXT_SIZE];
    return uuid_is_zero(id) ? json_null() : json_string_nocheck(uuid_format(id, text));
}

json_t *view_time(int64_t wall_us) {
    char text[CLOCK_TEXT_SIZE];
    return wall_us ? json_string_nocheck(clock_format(wall_us, text)) : json_null();
}

json_t *view_count(uint64_t count) {
    return json_integer(count > INT64_MAX ? INT64_MAX : (json_int_t)count);
}

static json_t *view_ip(const struct ip_addr *addr) {
    char text[IP_TEXT_SIZE];
    return addr->family ? json_string_nocheck(ip_format(addr, text)) : json_null();
}

static json_t *view_prefix(const struct prefix *prefix) {
    char text[PREFIX_TEXT_SIZE];
    return json_string_nocheck(prefix_format(prefix, text));
}

static json_t *view_key(const struct key *key) {
    char text[KEY_BASE64_SIZE];
    json_t *made = json_string_nocheck(key_to_base64(key, text));
    sodium_memzero(text, sizeof text);
    return made;
}

static json_t *view_limits(const struct limits *limits) {
    json_t *o = json_object();
    set(o, "bits_per_second", view_count(limits->bits_per_second));
    set(o, "packets_per_second", view_count(limits->packets_per_second));
    set(o, "routers", view_count(limits->routers));
    return o;
}

/* An object that could not take all its members (out of memory) is none. */
static json_t *whole(json_t *object, size_t members) {
    if (json_object_size(object) == members) {
        return object;
    }
    json_decref(object);
    return NULL;
}

json_t *view_tenant(const struct tenant *t) {
    json_t *o = json_object();
    set(o, "id", view_uuid(&t->id));
    set(o, "name", view_text(t->name));
    set_ascii(o, "addressing", addressing_name(t->addressing));
    set_ascii(o, "status", tenant_status_name(t->status));
    set(o, "subnet", view_prefix(&t->subnet));
    set(o, "egress", json_boolean(t->egress));
    set(o, "limits", view_limits(&t->limits));
    set(o, "routers", view_count(t->routers));
    set(o, "connected_routers", view_count(t->connected_routers));
    set(o, "bytes_received", view_count(t->bytes_received));
    set(o, "bytes_sent", view_count(t->bytes_sent));
    set(o, "created_at", view_time(t->created_at));
    set(o, "updated_at", view_time(t->updated_at));
    return whole(o, 13);
}

static bool router_connected(const struct router *r) {
    return r->status != ROUTER_DISABLED && r->connected;
}

json_t *view_router(const struct router *r) {
    json_t *lans = json_array();
    for (uint32_t i = 0; i < r->lan_count; i++) {
        json_array_append_new(lans, view_prefix(&r->lans[i]));
    }
    char endpoint[ENDPOINT_TEXT_SIZE];
    endpoint_format(&r->endpoint, endpoint);
    json_t *o = json_object();
    set(o, "id", view_uuid(&r->id));
    set(o, "tenant_id", view_uuid(&r->tenant_id));
    set(o, "name", view_text(r->name));
    set_ascii(o, "status", router_status_name(r->status));
    set(o, "public_key", view_key(&r->public_key));
    set(o, "has_preshared_key", json_boolean(!key_is_zero(&r->preshared_key)));
    set(o, "address", view_ip(&r->address));
    set(o, "hub_address", view_ip(&r->hub_address));
    set(o, "address6", view_ip(&r->address6));
    set(o, "lans", lans);
    set(o, "connected", json_boolean(router_connected(r)));
    set(o, "connected_since", view_time(router_connected(r) ? r->connected_since : 0));
    set(o, "gateway", router_connected(r) && r->gateway[0] ? view_text(r->gateway) : json_null());
    set(o, "last_handshake_at", view_time(r->last_handshake_at));
    set(o, "bytes_received", view_count(r->bytes_received));
    set(o, "bytes_sent", view_count(r->bytes_sent));
    set(o, "endpoint", endpoint[0] ? json_string_nocheck(endpoint) : json_null());
    set(o, "created_at", view_time(r->created_at));
    set(o, "updated_at", view_time(r->updated_at));
    return whole(o, 19);
}

json_t *view_router_made(const struct router_made *made, const char *config) {
    json_t *o = view_router(&made->router);
    size_t members = 20;
    if (!key_is_zero(&made->private_key)) {
        set(o, "private_key", view_key(&made->private_key));
        members++;
    }
    set(o, "config", view_text(config));
    return whole(o, members);
}

json_t *view_gateway(const struct gateway_info *g) {
    json_t *o = json_object();
    set(o, "name", view_text(g->name));
    set(o, "self", json_boolean(g->self));
    set(o, "alive", json_boolean(g->alive));
    set(o, "endpoint", view_text(g->endpoint));
    set(o, "region", view_text(g->region));
    set(o, "version", view_text(g->version));
    set(o, "backend", view_text(g->backend));
    set(o, "revision", view_count(g->revision));
    set(o, "connected_routers", view_count(g->connected_routers));
    set(o, "load_percent", view_count(g->load_percent));
    set(o, "clock_offset_ms", json_integer(g->clock_offset_ms));
    set(o, "started_at", view_time(g->started_at));
    set(o, "heartbeat_at", view_time(g->heartbeat_at));
    return whole(o, 13);
}

json_t *view_token(const struct token *t) {
    json_t *o = json_object();
    set(o, "id", view_uuid(&t->id));
    set(o, "name", view_text(t->name));
    set_ascii(o, "scope", scope_name(t->scope));
    set(o, "tenant_id", view_uuid(&t->tenant_id));
    set(o, "created_at", view_time(t->created_at));
    set(o, "expires_at", view_time(t->expires_at));
    set(o, "last_used_at", view_time(t->last_used_at));
    return whole(o, 7);
}

json_t *view_event(const struct event *e) {
    json_t *o = json_object();
    set(o, "revision", view_count(e->revision));
    set(o, "at", view_time(e->at));
    set(o, "kind", view_text(e->kind));
    set(o, "tenant_id", view_uuid(&e->tenant_id));
    set(o, "router_id", view_uuid(&e->router_id));
    set(o, "actor", view_text(e->actor));
    set(o, "token_id", view_uuid(&e->token_id));
    return whole(o, 7);
}

/* JSON that the service wrote, as a value; null for none. */
static json_t *view_kept(const char *text) {
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;
    return value ? value : json_null();
}

json_t *view_audit(const struct audit_row *row) {
    json_t *o = json_object();
    set(o, "revision", view_count(row->revision));
    set(o, "at", view_time(row->at));
    set(o, "kind", view_text(row->kind));
    set(o, "tenant_id", view_uuid(&row->tenant_id));
    set(o, "router_id", view_uuid(&row->router_id));
    set(o, "actor", view_text(row->author.actor));
    set(o, "token_id", view_uuid(&row->author.token_id));
    set(o, "origin", view_text(row->author.origin));
    set(o, "request_id", view_text(row->author.request));
    set(o, "before", view_kept(row->before));
    set(o, "after", view_kept(row->after));
    return whole(o, 11);
}

json_t *view_next_cursor(const char *next) {
    json_t *o = json_object();
    set(o, "next_cursor", next[0] ? view_text(next) : json_null());
    return whole(o, 1);
}

/* "duplicate-public-key" -> "Duplicate public key" */
static void title_of(const char *type, char title[64]) {
    snprintf(title, 64, "%s", type);
    for (char *at = title; *at; at++) {
        if (*at == '-') {
            *at = ' ';
        }
    }
    if (title[0] >= 'a' && title[0] <= 'z') {
        title[0] = (char)(title[0] - 'a' + 'A');
    }
}

json_t *view_problem(int status, const char *type, const char *field, const char *detail) {
    char urn[96];
    char title[64];
    snprintf(urn, sizeof urn, "urn:sallyport:problem:%s", type);
    title_of(type, title);
    json_t *o = json_object();
    set_ascii(o, "type", urn);
    set_ascii(o, "title", title);
    set(o, "status", json_integer(status));
    set(o, "detail", view_text(detail));
    if (field[0]) {
        set(o, "field", view_text(field));
    }
    return whole(o, field[0] ? 5 : 4);
}
