/* Receiver indexes of ours: which keypair or handshake one names (whitepaper 5.4.2: the sender's choice).
 *
 * An index says its worker in the top bits, the rest is random and in use once only (engine/io/steer.h). Keypairs may
 * fall out of a session in the middle of a batch whose jobs still point to them: what is dropped is gone from the index
 * at once, but its memory stays until session_index_sweep() between two batches, when its keys are wiped. One worker.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/path/peer.h"
#include "engine/table/table.h"

struct session_index {
    struct table table;           /* index -> id */
    struct index_entry **entries; /* by id, 0 unused */
    uint32_t *free_ids;
    uint32_t room, free_count;
    struct channel *dropped;
};

void session_index_free(struct session_index *index);

/* For a lookup that comes soon. */
static inline void session_index_prefetch(const struct session_index *index, uint32_t number) {
    table_prefetch(&index->table, table_mix(number));
}
/* NULL: names nothing. */
struct index_entry *session_index_find(const struct session_index *index, uint32_t number);

/* Gives an entry a fresh index of this worker. 0, -ENOMEM. */
int session_index_add(struct worker *worker, struct index_entry *entry, struct peer *peer, bool is_flight);
/* The index of `from` goes over to `to`: the handshake became a keypair. */
void session_index_replace(struct session_index *index, struct index_entry *from, struct index_entry *to);
void session_index_remove(struct session_index *index, struct index_entry *entry);

static inline struct channel *channel_of_entry(struct index_entry *entry) {
    return (struct channel *)((char *)entry - offsetof(struct channel, entry));
}
static inline struct channel *channel_of_keypair(struct keypair *keypair) {
    return (struct channel *)((char *)keypair - offsetof(struct channel, keypair));
}
static inline struct flight *flight_of_entry(struct index_entry *entry) {
    return (struct flight *)((char *)entry - offsetof(struct flight, entry));
}

/* Takes them out of the index; memory and keys last until the sweep. */
void session_index_drop(struct session_index *index, const struct session_dropped *dropped);
void session_index_sweep(struct session_index *index);
/* Accepts NULL. Wipes and frees at once. */
void session_index_free_flight(struct session_index *index, struct flight *flight);
