/* What is known of the peers' sessions and counters between two writes of their rows: a few words per peer, in memory.
 *
 * The data plane tells (live_take()), the rows are told (write.c), and readers see both together: a row's sums
 * plus what is not in them yet. Not thread-safe: under usage's mutex. Pointers hold until the next live_put(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "model/desired.h"
#include "store/noun/sessions.h"

#define CONNECTED_US INT64_C(180000000) /* a session lives 180 s after its handshake (whitepaper, section 6.1) */

struct live {
    struct key public_key;
    struct uuid tenant_id;
    int64_t row_id;                              /* of the router */
    uint64_t received, sent;                     /* the data plane's counters as last seen */
    uint64_t unwritten_received, unwritten_sent; /* not in the store yet */
    int64_t handshake_at;                        /* the latest seen here; wall */
    int64_t started_at;                          /* the session here began then; 0: there is none */
    union endpoint endpoint;
    uint8_t timestamp[DESIRED_TIMESTAMP_SIZE];
    uint32_t seen;      /* changes with everything that a row would have to be told */
    uint32_t written_s; /* monotonic: when its row was last written, or read */
    bool dirty;         /* the row does not say all of it */
    bool urgent;        /* and should, at once: it is in the list */
    bool never_met;     /* the router never had a handshake */
    bool owned;         /* the row says that its session is here */
    bool news;          /* a handshake was made here that the row does not know of */
    bool leaving;       /* out of the data plane for good; dropped when nothing is left to write */
    bool confirmed;     /* while all are rechecked: its row says so */
    bool tombstone;     /* as if it were not there: the table cannot forget */
};

/* What its routers have counted and their rows, and so its own, do not say yet. */
struct live_tenant {
    struct uuid id;
    int64_t tunnel_id;
    uint64_t unwritten_received, unwritten_sent;
};

struct lives {
    struct hash peers, tenants;
    size_t connected, tombstones;
    struct key *urgent; /* owned */
    size_t urgent_count, urgent_room;
};

/* What the data plane said of a peer. */
struct sample {
    struct key public_key;
    uint64_t bytes_received, bytes_sent;
    int64_t last_handshake_at;
    union endpoint endpoint;
    uint8_t timestamp[DESIRED_TIMESTAMP_SIZE];
};

void live_open(struct lives *lives);
void live_free(struct lives *lives);
/* NULL: nothing known of it. */
struct live *live_get(const struct lives *lives, const struct key *public_key);
struct live_tenant *live_tenant_get(const struct lives *lives, const struct uuid *tenant_id);
/* Begins with what its row says; `gateway_id` is ours, `generation` the data plane's. NULL: no memory. */
struct live *live_put(struct lives *lives, const struct session_row *row, int64_t gateway_id, const char *generation,
                      uint32_t now_s);
void live_take(struct lives *lives, struct live *live, const struct sample *sample, int64_t now);
/* The peer, or (NULL) every one, counts from zero from now on. */
void live_restart(struct lives *lives, struct live *live);
/* Its session is not here any more, whatever the reason: the row knows already. */
void live_leave(struct lives *lives, struct live *live);
/* Its row says no longer that its session is here, though it is: it will be told, at once. */
void live_reclaim(struct lives *lives, struct live *live);
void live_make_urgent(struct lives *lives, struct live *live);
/* Sessions whose handshake is too old end. */
void live_expire(struct lives *lives, int64_t now);
/* What a row, and its tenant's, was told: `received` and `sent` of what was unwritten. */
void live_written(struct lives *lives, struct live *live, uint64_t received, uint64_t sent);
void live_drop(struct lives *lives, struct live *live);
/* Makes room again when most are tombstones. */
void live_compact(struct lives *lives);
