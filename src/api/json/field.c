#include "api/json/field.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "model/key.h"
#include "model/uuid.h"

/* A fault shows at most so many bytes of the offending text. */
#define SHOWN "%.60s"

const char *field_type_name(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "unknown";
}

static const char *expected(enum field_kind kind) {
    switch (kind) {
    case FIELD_BOOL:
        return "a boolean";
    case FIELD_U32:
    case FIELD_U64:
        return "an integer";
    case FIELD_OBJECT:
        return "an object";
    case FIELD_ARRAY:
        return "an array";
    case FIELD_TEXT:
    case FIELD_UUID:
    case FIELD_KEY:
    case FIELD_PREFIX:
    case FIELD_IP:
    case FIELD_TIME:
    case FIELD_CHOICE:
        return "a string";
    }
    return "something else";
}

static int wrong_type(const struct field *f, const json_t *value, struct problem *p) {
    return problem_set(p, PROBLEM_INVALID, "wrong-type", f->name, "Expected %s, got %s.", expected(f->kind),
                       field_type_name(value));
}

const struct field *field_find(const struct field *fields, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static int read_number(const struct field *f, int64_t value, void *at, struct problem *p) {
    uint64_t most = f->most ? f->most : f->kind == FIELD_U32 ? UINT32_MAX : INT64_MAX;
    if (value < 0 || (uint64_t)value < f->least || (uint64_t)value > most) {
        return problem_set(p, PROBLEM_INVALID, "out-of-range", f->name,
                           "%" PRId64 " is out of range; give %" PRIu64 " to %" PRIu64 ".", value, f->least, most);
    }
    if (f->kind == FIELD_U32) {
        *(uint32_t *)at = (uint32_t)value;
    } else {
        *(uint64_t *)at = (uint64_t)value;
    }
    return 0;
}

static int read_choice(const struct field *f, const char *text, unsigned *ret_choice, struct problem *p) {
    char all[160] = "";
    for (unsigned i = 0; f->choices[i]; i++) {
        if (strcmp(f->choices[i], text) == 0) {
            *ret_choice = i;
            return 0;
        }
        size_t size = strlen(all);
        snprintf(all + size, sizeof all - size, "%s\"%s\"", i ? ", " : "", f->choices[i]);
    }
    return problem_set(p, PROBLEM_INVALID, "invalid-value", f->name, "\"" SHOWN "\" is none of %s.", text, all);
}

static int read_key(const struct field *f, const char *text, struct key *ret_key, struct problem *p) {
    struct key key;
    /* The text is not shown: it may be a secret. */
    if (key_from_base64(text, &key) < 0) {
        return problem_set(p, PROBLEM_INVALID, "invalid-key", f->name,
                           "Not a WireGuard key: expected 32 bytes as 44 characters of base64, as `wg genkey` and "
                           "`wg pubkey` print them.");
    }
    if (key_is_zero(&key)) {
        return problem_set(p, PROBLEM_INVALID, "invalid-key", f->name,
                           "A key of zeros is none. Leave the field out instead.");
    }
    *ret_key = key;
    explicit_bzero(&key, sizeof key);
    return 0;
}

static int read_uuid(const struct field *f, const char *text, struct uuid *ret_uuid, struct problem *p) {
    struct uuid uuid;
    if (uuid_parse(text, &uuid) < 0 || uuid_is_zero(&uuid)) {
        return problem_set(p, PROBLEM_INVALID, "invalid-id", f->name,
                           "\"" SHOWN "\" is not a UUID such as 0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b.", text);
    }
    *ret_uuid = uuid;
    return 0;
}

static int read_prefix(const char *name, const char *text, struct prefix *ret_prefix, struct problem *p) {
    struct prefix prefix;
    bool host_bits;
    char good[PREFIX_TEXT_SIZE];
    if (prefix_parse(text, &prefix, &host_bits) < 0) {
        return problem_set(p, PROBLEM_INVALID, "invalid-prefix", name,
                           "\"" SHOWN "\" is not a prefix such as 192.168.88.0/24 or fd00:1::/64.", text);
    }
    if (host_bits) {
        return problem_set(p, PROBLEM_INVALID, "invalid-prefix", name,
                           "\"" SHOWN "\" has bits set beyond its length; did you mean %s?", text,
                           prefix_format(&prefix, good));
    }
    *ret_prefix = prefix;
    return 0;
}

/* Everything that is written as a string. */
static int read_string(const struct field *f, const char *text, void *at, struct problem *p) {
    switch (f->kind) {
    case FIELD_TEXT:
        *(const char **)at = text;
        return 0;
    case FIELD_UUID:
        return read_uuid(f, text, at, p);
    case FIELD_KEY:
        return read_key(f, text, at, p);
    case FIELD_PREFIX:
        return read_prefix(f->name, text, at, p);
    case FIELD_IP:
        return ip_parse(text, at) == 0 ? 0
                                       : problem_set(p, PROBLEM_INVALID, "invalid-address", f->name,
                                                     "\"" SHOWN "\" is not an IP address such as 10.0.0.9.", text);
    case FIELD_TIME:
        return clock_parse(text, at) == 0 ? 0
                                          : problem_set(p, PROBLEM_INVALID, "invalid-time", f->name,
                                                        "\"" SHOWN "\" is not a UTC time such as "
                                                        "2026-01-31T12:00:00Z.",
                                                        text);
    case FIELD_CHOICE:
        return read_choice(f, text, at, p);
    case FIELD_BOOL:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_OBJECT:
    case FIELD_ARRAY:
        break;
    }
    return problem_set(p, PROBLEM_INTERNAL, "internal", f->name, "This field is not read from text.");
}

static int read_array(const struct field *f, const json_t *value, const json_t **ret_array, struct problem *p) {
    size_t size = json_array_size(value);
    if (size < f->least || (f->most && size > f->most)) {
        return problem_set(p, PROBLEM_INVALID, "out-of-range", f->name,
                           "Has %zu items; give %" PRIu64 " to %" PRIu64 ".", size, f->least, f->most);
    }
    *ret_array = value;
    return 0;
}

static int read_value(const struct field *f, const json_t *value, void *out, struct problem *p) {
    void *at = (char *)out + f->offset;
    switch (json_typeof(value)) {
    case JSON_TRUE:
    case JSON_FALSE:
        if (f->kind == FIELD_BOOL) {
            *(bool *)at = json_is_true(value);
            return 0;
        }
        break;
    case JSON_INTEGER:
        if (f->kind == FIELD_U32 || f->kind == FIELD_U64) {
            return read_number(f, json_integer_value(value), at, p);
        }
        break;
    case JSON_STRING:
        if (strcmp(expected(f->kind), "a string") == 0) {
            return read_string(f, json_string_value(value), at, p);
        }
        break;
    case JSON_ARRAY:
        if (f->kind == FIELD_ARRAY) {
            return read_array(f, value, at, p);
        }
        break;
    case JSON_OBJECT:
        if (f->kind == FIELD_OBJECT) {
            int error = field_read_object(value, f->fields, f->field_count, out, p);
            if (error < 0) {
                problem_within(p, f->name);
            }
            return error;
        }
        break;
    case JSON_REAL:
    case JSON_NULL:
        break;
    }
    return wrong_type(f, value, p);
}

static void mark_given(const struct field *f, void *out) {
    if (f->given) {
        *(bool *)((char *)out + f->given) = true;
    }
}

int field_read_object(const json_t *object, const struct field *fields, size_t count, void *out,
                      struct problem *ret_problem) {
    if (!json_is_object(object)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "wrong-type", "", "Expected an object, got %s.",
                           field_type_name(object));
    }
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        const struct field *f = field_find(fields, count, name);
        if (!f) {
            return problem_set(ret_problem, PROBLEM_INVALID, "unknown-field", name,
                               "There is no field \"" SHOWN "\" here; see /v1/openapi.json for those there are.", name);
        }
        int error = read_value(f, value, out, ret_problem);
        if (error < 0) {
            return error;
        }
        mark_given(f, out);
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].required && !json_object_get(object, fields[i].name)) {
            return problem_set(ret_problem, PROBLEM_INVALID, "missing-field", fields[i].name,
                               "\"%s\" is missing; it is required.", fields[i].name);
        }
    }
    return 0;
}

static int read_digits(const struct field *f, const char *text, void *at, struct problem *p) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno) {
        return problem_set(p, PROBLEM_INVALID, "wrong-type", f->name, "\"" SHOWN "\" is not an integer in range.",
                           text);
    }
    return read_number(f, value, at, p);
}

int field_read_text(const struct field *f, const char *text, void *out, struct problem *ret_problem) {
    void *at = (char *)out + f->offset;
    int error = 0;
    if (f->kind == FIELD_BOOL) {
        bool yes = strcmp(text, "true") == 0;
        if (!yes && strcmp(text, "false") != 0) {
            return problem_set(ret_problem, PROBLEM_INVALID, "wrong-type", f->name,
                               "\"" SHOWN "\" is neither \"true\" nor \"false\".", text);
        }
        *(bool *)at = yes;
    } else if (f->kind == FIELD_U32 || f->kind == FIELD_U64) {
        error = read_digits(f, text, at, ret_problem);
    } else {
        error = read_string(f, text, at, ret_problem);
    }
    if (error == 0) {
        mark_given(f, out);
    }
    return error;
}

int field_read_prefixes(const json_t *array, struct prefix **ret_prefixes, size_t *ret_count,
                        struct problem *ret_problem) {
    size_t count = json_array_size(array);
    struct prefix *prefixes = calloc(count ? count : 1, sizeof *prefixes);
    if (!prefixes) {
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "out-of-memory", "", "Out of memory; try again.");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        char name[32];
        snprintf(name, sizeof name, "[%zu]", i);
        int error = json_is_string(item) ? read_prefix(name, json_string_value(item), &prefixes[i], ret_problem)
                                         : problem_set(ret_problem, PROBLEM_INVALID, "wrong-type", name,
                                                       "Expected a string, got %s.", field_type_name(item));
        if (error < 0) {
            free(prefixes);
            return error;
        }
    }
    *ret_prefixes = prefixes;
    *ret_count = count;
    return 0;
}
