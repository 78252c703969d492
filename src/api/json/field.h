/* Reading what a caller sent into plain structs, from tables: one table per request body or query string.
 *
 * A table names every field there is; what is not in it is refused by name. Values are checked for type, form and range
 * here, for sense (is it free, does it overlap) in service/. Each fault names the field by its path
 * ("routers[3].lans[1]") and says what was expected. Texts are borrowed from their source and live as long as it does.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"
#include "model/problem.h"

enum field_kind {
    FIELD_TEXT,   /* const char * */
    FIELD_BOOL,   /* bool */
    FIELD_U32,    /* uint32_t within least..most (most 0: all) */
    FIELD_U64,    /* uint64_t within least..most (most 0: all that JSON's integers hold) */
    FIELD_UUID,   /* struct uuid; the zero UUID is refused, as it stands for "none" */
    FIELD_KEY,    /* struct key, base64; the zero key is refused */
    FIELD_PREFIX, /* struct prefix, without host bits */
    FIELD_IP,     /* struct ip_addr */
    FIELD_TIME,   /* int64_t, microseconds since the epoch */
    FIELD_CHOICE, /* unsigned or an enum: the index in `choices` */
    FIELD_OBJECT, /* its `fields` go into the same struct */
    FIELD_ARRAY,  /* const json_t *, borrowed; least..most items (most 0: any number) */
};

struct field {
    const char *name;
    enum field_kind kind;
    bool required;
    size_t offset; /* in the struct that is filled */
    size_t given;  /* offset of a bool that tells the field was there; 0: none, so it is never the first member */
    uint64_t least, most;
    const char *const *choices; /* NULL-terminated */
    const struct field *fields;
    size_t field_count;
};

/* Reads an object; `out` is the struct, zeroed by the caller. 0, or a negative errno with `ret_problem`. */
int field_read_object(const json_t *object, const struct field *fields, size_t count, void *out,
                      struct problem *ret_problem);
/* Reads one value given as text (a query parameter). */
int field_read_text(const struct field *field, const char *text, void *out, struct problem *ret_problem);
/* NULL if there is none of that name. */
const struct field *field_find(const struct field *fields, size_t count, const char *name);

/* An array of prefixes into `ret_prefixes` (free() it); the faulty one is named "[2]" for problem_within(). */
int field_read_prefixes(const json_t *array, struct prefix **ret_prefixes, size_t *ret_count,
                        struct problem *ret_problem);
/* What a JSON value is, in words. */
const char *field_type_name(const json_t *value);
