#include "engine/path/session_index.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "engine/io/steer.h"

#define FIRST_ROOM 64

void session_index_free(struct session_index *index) {
    session_index_sweep(index);
    table_free(&index->table);
    free(index->entries);
    free(index->free_ids);
    *index = (struct session_index){.worker = index->worker};
}

struct index_entry *session_index_find(const struct session_index *index, uint32_t number) {
    uint32_t id = table_find_exact(&index->table, table_mix(number));
    return id ? index->entries[id] : NULL;
}

static int grow_entries(struct session_index *index) {
    uint32_t room = index->room ? index->room * 2 : FIRST_ROOM;
    struct index_entry **entries = reallocarray(index->entries, room, sizeof(struct index_entry *));
    if (!entries) {
        return -ENOMEM;
    }
    index->entries = entries;
    uint32_t *free_ids = reallocarray(index->free_ids, room, sizeof *free_ids);
    if (!free_ids) {
        return -ENOMEM;
    }
    index->free_ids = free_ids;
    /* Highest first, so that low ids are used first. Id 0 means none. */
    for (uint32_t id = room - 1; id >= index->room && id > 0; id--) {
        index->entries[id] = NULL;
        index->free_ids[index->free_count++] = id;
    }
    index->room = room;
    return 0;
}

int session_index_add(struct session_index *index, struct index_entry *entry, struct peer *peer, bool is_handshake,
                      uint16_t epoch) {
    if (index->free_count == 0) {
        int error = grow_entries(index);
        if (error) {
            return error;
        }
    }
    uint32_t number;
    do {
        randombytes_buf(&number, sizeof number);
        number = steer_index(index->worker, number);
    } while (session_index_find(index, number));
    uint32_t id = index->free_ids[index->free_count - 1];
    int error = table_insert(&index->table, table_mix(number), id);
    if (error) {
        return error;
    }
    index->free_count--;
    index->entries[id] = entry;
    *entry = (struct index_entry){
        .peer = peer,
        .index = number,
        .id = id,
        .is_handshake = is_handshake,
        .epoch = epoch,
    };
    return 0;
}

void session_index_replace(struct session_index *index, struct index_entry *from, struct index_entry *to) {
    *to = *from;
    to->is_handshake = false;
    index->entries[to->id] = to;
    from->peer = NULL;
    from->id = 0;
}

void session_index_remove(struct session_index *index, struct index_entry *entry) {
    if (entry->id == 0) {
        return;
    }
    table_remove(&index->table, table_mix(entry->index), entry->id);
    index->entries[entry->id] = NULL;
    index->free_ids[index->free_count++] = entry->id;
    entry->id = 0;
    entry->peer = NULL;
}

void session_index_retire(struct session_index *index, const struct session_dropped *dropped) {
    for (size_t i = 0; i < sizeof dropped->keypairs / sizeof *dropped->keypairs; i++) {
        if (dropped->keypairs[i]) {
            struct indexed_keypair *indexed = indexed_keypair_of(dropped->keypairs[i]);
            session_index_remove(index, &indexed->entry);
            indexed->next_retired = index->retired;
            index->retired = indexed;
        }
    }
}

void session_index_sweep(struct session_index *index) {
    while (index->retired) {
        struct indexed_keypair *indexed = index->retired;
        index->retired = indexed->next_retired;
        keypair_wipe(&indexed->keypair);
        free(indexed);
    }
    table_migrate(&index->table);
}

void session_index_free_handshake(struct session_index *index, struct pending_handshake *pending) {
    if (!pending) {
        return;
    }
    session_index_remove(index, &pending->entry);
    noise_handshake_wipe(&pending->handshake);
    free(pending);
}
