/* Reads a file of tenants and routers, item by item, in the order of its lines: JSON Lines or CSV.
 *
 * JSON Lines: each line an object. One with "tenant" (a name or UUID of a tenant that exists) is a router for it; any
 * other is a tenant as POST /v1/tenants/bulk takes it, with its "routers". CSV (RFC 4180): the first row names the
 * columns; each further row is a router, and rows of one tenant that follow each other make one tenant, or, with
 * `into_existing`, each row is a router for a tenant that exists.
 *
 * Checks form only: what the gateway makes of the values is its to say. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "model/uuid.h"

enum import_format {
    IMPORT_JSON_LINES,
    IMPORT_CSV,
};

struct import_item {
    json_t *body;  /* owned; as the API takes it */
    char *tenant;  /* owned; the tenant that a router goes to, NULL for a tenant item */
    unsigned line; /* where it begins, from 1 */
    size_t routers;
    size_t place;    /* of a router that was split off: among its tenant's, from 1; else 0 */
    bool makes_keys; /* the gateway will make a secret for it, which is shown once */
};

struct import_reader;

/* Borrows `file`. NULL: out of memory. */
struct import_reader *import_reader_make(FILE *file, enum import_format format, bool into_existing);
void import_reader_free(struct import_reader *reader); /* accepts NULL */
/* 1 with an item (import_item_free() it), 0 at the end, -EINVAL with what is wrong and where, -EIO. */
int import_reader_next(struct import_reader *reader, struct import_item *ret_item, struct buf *ret_fault);
/* Bytes read so far: the progress. */
size_t import_reader_bytes(const struct import_reader *reader);
void import_item_free(struct import_item *item);

/* The same item gives the same identifier every time it is imported, so that a repeat is recognized. Kept if it has
 * one. */
int import_item_identify(struct import_item *item);

/* The API makes a tenant in one step with so many routers and LANs at most (2,000); the routers beyond become items of
 * their own, for the tenant by its identifier, which it must have. `ret_rest`: owned, NULL if there are none; -ENOMEM.
 */
int import_item_split(struct import_item *item, struct import_item **ret_rest, size_t *ret_count);
