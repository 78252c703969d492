/* Receiver indexes of ours: which keypair or pending handshake one names (whitepaper 5.4.2: the sender's choice).
 *
 * An index says its worker in the top bits; the rest is random and used only once (engine/io/steer.h). A keypair may
 * fall out of a session in the middle of a batch whose jobs still point to it. So there are two ways out: what is
 * retired is gone from the index at once, but its memory and keys stay until session_index_sweep() between two batches;
 * what is freed goes at once. One worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/table/table.h"
#include "wire/noise.h"
#include "wire/session.h"

struct peer;

/* Embedded in what a receiver index of ours names. */
struct index_entry {
    struct peer *peer; /* NULL: retired in this round, only its memory is waiting */
    uint32_t index;
    uint32_t id; /* in the session index; 0: in none */
    bool is_handshake;
    uint16_t epoch; /* of the worker's identity when it was made */
};

/* A keypair of a session, by its index. */
struct indexed_keypair {
    struct index_entry entry;
    struct indexed_keypair *next_retired;
    struct keypair keypair;
};

/* A handshake that this side began and that has no answer yet. */
struct pending_handshake {
    struct index_entry entry;
    struct noise_handshake handshake;
};

struct session_index {
    unsigned worker;              /* its number: the top bits of each index */
    struct table table;           /* index -> id */
    struct index_entry **entries; /* by id, 0 unused */
    uint32_t *free_ids;
    uint32_t room, free_count;
    struct indexed_keypair *retired;
};

/* For a lookup that comes soon. */
static inline void session_index_prefetch(const struct session_index *index, uint32_t number) {
    table_prefetch(&index->table, table_mix(number));
}
/* NULL: names nothing. */
struct index_entry *session_index_find(const struct session_index *index, uint32_t number);

/* Gives an entry a fresh index. `epoch`: of the identity it is made with. 0, -ENOMEM. */
int session_index_add(struct session_index *index, struct index_entry *entry, struct peer *peer, bool is_handshake,
                      uint16_t epoch);
/* The index of `from` goes over to `to`: the handshake became a keypair. */
void session_index_replace(struct session_index *index, struct index_entry *from, struct index_entry *to);
/* Takes one out; its memory is the caller's. */
void session_index_remove(struct session_index *index, struct index_entry *entry);

static inline struct indexed_keypair *indexed_keypair_of_entry(struct index_entry *entry) {
    return (struct indexed_keypair *)((char *)entry - offsetof(struct indexed_keypair, entry));
}
static inline struct indexed_keypair *indexed_keypair_of(struct keypair *keypair) {
    return (struct indexed_keypair *)((char *)keypair - offsetof(struct indexed_keypair, keypair));
}
static inline struct pending_handshake *pending_handshake_of_entry(struct index_entry *entry) {
    return (struct pending_handshake *)((char *)entry - offsetof(struct pending_handshake, entry));
}

/* Takes them out; their memory and keys stay until the sweep. */
void session_index_retire(struct session_index *index, const struct session_dropped *dropped);
/* Between two batches: wipes and frees what was retired, and moves on an unfinished growth. */
void session_index_sweep(struct session_index *index);
/* Takes it out, wipes and frees it at once. Accepts NULL. */
void session_index_free_handshake(struct session_index *index, struct pending_handshake *pending);
/* All of it, the retired ones too. */
void session_index_free(struct session_index *index);
