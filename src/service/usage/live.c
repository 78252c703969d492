#include "service/usage/live.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

void live_open(struct lives *lives) {
    *lives = (struct lives){0};
    hash_open(&lives->peers, sizeof(struct key), sizeof(struct live));
    hash_open(&lives->tenants, sizeof(struct uuid), sizeof(struct live_tenant));
}

void live_free(struct lives *lives) {
    hash_free(&lives->peers);
    hash_free(&lives->tenants);
    free(lives->urgent);
    *lives = (struct lives){0};
}

struct live *live_get(const struct lives *lives, const struct key *public_key) {
    struct live *live = hash_get(&lives->peers, public_key);
    return live && !live->tombstone ? live : NULL;
}

struct live_tenant *live_tenant_get(const struct lives *lives, const struct uuid *tenant_id) {
    return hash_get(&lives->tenants, tenant_id);
}

static void touch(struct live *live) {
    live->dirty = true;
    live->seen++;
}

void live_make_urgent(struct lives *lives, struct live *live) {
    touch(live);
    if (live->urgent) {
        return;
    }
    struct key *list = array_grow(lives->urgent, &lives->urgent_room, lives->urgent_count + 1, sizeof *list);
    if (!list) {
        return; /* it stays dirty, and is written when its turn comes */
    }
    lives->urgent = list;
    lives->urgent[lives->urgent_count++] = live->public_key;
    live->urgent = true;
}

struct live *live_put(struct lives *lives, const struct session_row *row, int64_t gateway_id, const char *generation,
                      uint32_t now_s) {
    struct live_tenant *tenant = hash_put(&lives->tenants, &row->tenant_id);
    struct live *live = tenant ? hash_put(&lives->peers, &row->public_key) : NULL;
    if (!live) {
        return NULL;
    }
    tenant->tunnel_id = row->tunnel_id;
    lives->tombstones -= live->tombstone;
    bool held = row->gateway_id == gateway_id && row->connected_since;
    bool same = strcmp(row->counted_generation, generation) == 0;
    *live = (struct live){
        .public_key = row->public_key,
        .tenant_id = row->tenant_id,
        .row_id = row->id,
        .received = same ? row->counted_received : 0,
        .sent = same ? row->counted_sent : 0,
        .handshake_at = held ? row->last_handshake_at : 0, /* a session that nobody holds may be here */
        .started_at = held ? row->connected_since : 0,
        .written_s = now_s,
        .never_met = row->status == ROUTER_PENDING,
        .owned = held,
    };
    memcpy(live->timestamp, row->timestamp, sizeof live->timestamp);
    (void)endpoint_parse(row->endpoint, &live->endpoint);
    lives->connected += held;
    return live;
}

static void count(struct lives *lives, struct live *live, const struct sample *sample) {
    /* One that is behind what it was counts from zero again: the peer was taken out and put back. */
    uint64_t received = sample->bytes_received - (sample->bytes_received >= live->received ? live->received : 0);
    uint64_t sent = sample->bytes_sent - (sample->bytes_sent >= live->sent ? live->sent : 0);
    live->received = sample->bytes_received;
    live->sent = sample->bytes_sent;
    if (received || sent) {
        struct live_tenant *tenant = live_tenant_get(lives, &live->tenant_id);
        live->unwritten_received += received;
        live->unwritten_sent += sent;
        if (tenant) {
            tenant->unwritten_received += received;
            tenant->unwritten_sent += sent;
        }
        touch(live);
    }
}

static void meet(struct lives *lives, struct live *live, int64_t handshake_at, int64_t now) {
    live->handshake_at = handshake_at;
    touch(live);
    if (handshake_at > now - CONNECTED_US) {
        lives->connected += !live->started_at;
        live->started_at = live->started_at ? live->started_at : handshake_at;
        if (!live->owned) {
            live->news = true;
            live_make_urgent(lives, live);
        }
    }
    if (live->never_met) {
        live_make_urgent(lives, live);
    }
}

void live_take(struct lives *lives, struct live *live, const struct sample *sample, int64_t now) {
    count(lives, live, sample);
    bool newer = memcmp(sample->timestamp, live->timestamp, sizeof live->timestamp) > 0;
    if (newer) {
        memcpy(live->timestamp, sample->timestamp, sizeof live->timestamp);
        touch(live);
    }
    if (sample->endpoint.sa.sa_family && !endpoint_equal(&sample->endpoint, &live->endpoint)) {
        live->endpoint = sample->endpoint;
        touch(live);
        if (live->owned) {
            live_make_urgent(lives, live);
        }
    }
    if (sample->last_handshake_at > live->handshake_at) {
        meet(lives, live, sample->last_handshake_at, now);
    }
}

static void restart_one(struct lives *lives, struct live *live) {
    if (live->received || live->sent) {
        live->received = 0;
        live->sent = 0;
        live_make_urgent(lives, live); /* its row must not expect what the data plane no longer knows */
    }
}

void live_restart(struct lives *lives, struct live *live) {
    size_t at = 0;
    if (live) {
        restart_one(lives, live);
        return;
    }
    while ((live = hash_each(&lives->peers, &at))) {
        live->received = 0; /* rows of another generation expect nothing */
        live->sent = 0;
    }
}

void live_leave(struct lives *lives, struct live *live) {
    lives->connected -= live->started_at != 0;
    live->started_at = 0;
    live->owned = false;
    live->news = false;
}

void live_reclaim(struct lives *lives, struct live *live) {
    if (live->owned && live->started_at && !live->leaving) {
        live->owned = false;
        live->news = true;
        live_make_urgent(lives, live);
    }
}

void live_expire(struct lives *lives, int64_t now) {
    size_t at = 0;
    for (struct live *live; (live = hash_each(&lives->peers, &at));) {
        if (live->started_at && live->handshake_at <= now - CONNECTED_US) {
            lives->connected--;
            live->started_at = 0;
            live->news = false;
            if (live->owned) {
                live_make_urgent(lives, live);
            }
        }
    }
}

void live_written(struct lives *lives, struct live *live, uint64_t received, uint64_t sent) {
    struct live_tenant *tenant = live_tenant_get(lives, &live->tenant_id);
    live->unwritten_received -= received;
    live->unwritten_sent -= sent;
    if (tenant) {
        tenant->unwritten_received -= received;
        tenant->unwritten_sent -= sent;
    }
}

void live_drop(struct lives *lives, struct live *live) {
    live_leave(lives, live);
    live_written(lives, live, live->unwritten_received, live->unwritten_sent);
    live->dirty = false;
    live->tombstone = true;
    lives->tombstones++;
}

void live_compact(struct lives *lives) {
    if (lives->tombstones < 1024 || lives->tombstones < lives->peers.count / 2) {
        return;
    }
    struct hash peers;
    size_t at = 0;
    hash_open(&peers, sizeof(struct key), sizeof(struct live));
    for (struct live *live; (live = hash_each(&lives->peers, &at));) {
        struct live *kept = live->tombstone ? NULL : hash_put(&peers, &live->public_key);
        if (kept) {
            *kept = *live;
        } else if (!live->tombstone) {
            hash_free(&peers); /* no memory now: another time */
            return;
        }
    }
    hash_free(&lives->peers);
    lives->peers = peers;
    lives->tombstones = 0;
}
