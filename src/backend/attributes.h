/* Attributes of netlink messages, for every netlink family that the room speaks: all of a message or a nest by their
 * type, or one after the other where a type comes many times. Pure; what is no attribute any more ends it. */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATTRIBUTE_TYPES 32

/* A later one of a type replaces an earlier; types beyond the array are left out. */
struct attributes {
    const struct nlattr *of[ATTRIBUTE_TYPES];
};

/* One after the other. */
struct attribute_walk {
    const struct nlattr *at;
    const uint8_t *end;
};

static inline struct attribute_walk attribute_walk_of(const struct nlmsghdr *message, size_t header_size) {
    return (struct attribute_walk){
        .at = mnl_nlmsg_get_payload_offset(message, header_size),
        .end = mnl_nlmsg_get_payload_tail(message),
    };
}

static inline struct attribute_walk attribute_walk_in(const struct nlattr *nest) {
    const uint8_t *payload = mnl_attr_get_payload(nest);
    return (struct attribute_walk){
        .at = (const struct nlattr *)(const void *)payload,
        .end = payload + mnl_attr_get_payload_len(nest),
    };
}

/* NULL: that was the last. */
static inline const struct nlattr *attribute_next(struct attribute_walk *walk) {
    const struct nlattr *at = walk->at;
    ptrdiff_t left = walk->end - (const uint8_t *)at;
    if (left < (ptrdiff_t)sizeof *at || !mnl_attr_ok(at, (int)left)) {
        return NULL;
    }
    walk->at = mnl_attr_next(at);
    return at;
}

static inline struct attributes attributes_from(struct attribute_walk walk) {
    struct attributes attributes = {{NULL}};
    const struct nlattr *attribute;
    while ((attribute = attribute_next(&walk))) {
        if (mnl_attr_get_type(attribute) < ATTRIBUTE_TYPES) {
            attributes.of[mnl_attr_get_type(attribute)] = attribute;
        }
    }
    return attributes;
}

static inline struct attributes attributes_of(const struct nlmsghdr *message, size_t header_size) {
    return attributes_from(attribute_walk_of(message, header_size));
}

/* None if there is no such nest. */
static inline struct attributes attributes_in(const struct nlattr *nest) {
    return nest ? attributes_from(attribute_walk_in(nest)) : (struct attributes){{NULL}};
}

static inline bool attribute_is_u32(const struct nlattr *attribute) {
    return attribute && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0;
}

/* Empty if there is none, or it is no text. */
static inline const char *attribute_text(const struct nlattr *attribute) {
    return attribute && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 ? mnl_attr_get_str(attribute) : "";
}
