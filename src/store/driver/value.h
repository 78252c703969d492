/* Values on their way into a statement. Plain; text that is made here lives in the value itself. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "model/key.h"
#include "model/prefix.h"
#include "model/uuid.h"

enum value_kind {
    VALUE_NULL,
    VALUE_NUMBER,
    VALUE_TEXT,
    VALUE_BLOB,
    VALUE_TIME, /* wall, microseconds; the driver writes it as its database does */
};

struct value {
    enum value_kind kind;
    int64_t number;
    const void *bytes; /* TEXT, BLOB: borrowed; NULL: `text` */
    size_t size;
    char text[PREFIX_TEXT_SIZE];
};

/* How many values a local array holds. */
#define VALUE_COUNT(values) (sizeof(values) / sizeof *(values))

static inline struct value value_null(void) {
    return (struct value){.kind = VALUE_NULL};
}

static inline struct value value_number(int64_t number) {
    return (struct value){.kind = VALUE_NUMBER, .number = number};
}

/* Counters: 63 bits are what both databases have. */
static inline struct value value_count(uint64_t count) {
    return value_number(count > INT64_MAX ? INT64_MAX : (int64_t)count);
}

static inline struct value value_text(const char *text) {
    return (struct value){.kind = VALUE_TEXT, .bytes = text, .size = strlen(text)};
}

static inline struct value value_blob(const void *bytes, size_t size) {
    return (struct value){.kind = size ? VALUE_BLOB : VALUE_NULL, .bytes = bytes, .size = size};
}

/* 0 is NULL. */
static inline struct value value_time(int64_t wall_us) {
    return (struct value){.kind = wall_us ? VALUE_TIME : VALUE_NULL, .number = wall_us};
}

/* The zero UUID is NULL. */
static inline struct value value_uuid(const struct uuid *uuid) {
    struct value v = {.kind = uuid_is_zero(uuid) ? VALUE_NULL : VALUE_TEXT};
    v.size = strlen(uuid_format(uuid, v.text));
    return v;
}

static inline struct value value_ip(const struct ip_addr *addr) {
    struct value v = {.kind = addr->family ? VALUE_TEXT : VALUE_NULL};
    v.size = strlen(ip_format(addr, v.text));
    return v;
}

static inline struct value value_prefix(const struct prefix *prefix) {
    struct value v = {.kind = prefix->addr.family ? VALUE_TEXT : VALUE_NULL};
    v.size = strlen(prefix_format(prefix, v.text));
    return v;
}

/* For public keys only: nothing wipes it. */
static inline struct value value_key(const struct key *key) {
    struct value v = {.kind = VALUE_TEXT};
    v.size = strlen(key_to_base64(key, v.text));
    return v;
}
