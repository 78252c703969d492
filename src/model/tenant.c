#include "model/tenant.h"

#include <errno.h>
#include <string.h>

const char *addressing_name(enum addressing addressing) {
    return addressing == ADDRESSING_PRIVATE ? "private" : "unique";
}

int addressing_parse(const char *name, enum addressing *ret_addressing) {
    if (strcmp(name, "unique") == 0) {
        *ret_addressing = ADDRESSING_UNIQUE;
    } else if (strcmp(name, "private") == 0) {
        *ret_addressing = ADDRESSING_PRIVATE;
    } else {
        return -EINVAL;
    }
    return 0;
}

const char *tenant_status_name(enum tenant_status status) {
    return status == TENANT_DISABLED ? "disabled" : "active";
}

int tenant_status_parse(const char *name, enum tenant_status *ret_status) {
    if (strcmp(name, "active") == 0) {
        *ret_status = TENANT_ACTIVE;
    } else if (strcmp(name, "disabled") == 0) {
        *ret_status = TENANT_DISABLED;
    } else {
        return -EINVAL;
    }
    return 0;
}

/* One code point of UTF-8 (RFC 3629: no surrogates, no overlong forms). Returns its bytes, or 0 if it is malformed. */
static int utf8_next(const unsigned char *s, uint32_t *ret_point) {
    int more = s[0] < 0x80 ? 0 : (s[0] & 0xe0) == 0xc0 ? 1 : (s[0] & 0xf0) == 0xe0 ? 2 : (s[0] & 0xf8) == 0xf0 ? 3 : -1;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (more < 0) {
        return 0;
    }
    uint32_t point = more ? s[0] & (0x3fu >> more) : s[0];
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (s[i] & 0x3f);
    }
    if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
        return 0;
    }
    *ret_point = point;
    return more + 1;
}

/* Characters that move the cursor, end a line or reorder text: none may appear in a table, a log line or a script's
 * comment. */
static bool forges_text(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x61c || point == 0x200e || point == 0x200f ||
           point == 0x2028 || point == 0x2029 || (point >= 0x202a && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

/* The space characters of Unicode (category Zs). */
static bool is_space(uint32_t point) {
    return point == ' ' || point == 0xa0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200a) ||
           point == 0x202f || point == 0x205f || point == 0x3000;
}

const char *name_fault(const char *name) {
    size_t size = strlen(name);
    if (size == 0) {
        return "is empty; give 1 to 128 bytes of text";
    }
    if (size >= NAME_SIZE) {
        return "is longer than 128 bytes; shorten it";
    }
    uint32_t point = 0;
    bool outer_space = false;
    for (const unsigned char *at = (const unsigned char *)name; *at;) {
        bool first = at == (const unsigned char *)name;
        int step = utf8_next(at, &point);
        if (!step) {
            return "is not valid UTF-8";
        }
        if (forges_text(point)) {
            return "contains a control character; use printable text";
        }
        outer_space = outer_space || (first && is_space(point));
        at += step;
    }
    if (outer_space || is_space(point)) {
        return "starts or ends with a space; remove it";
    }
    return NULL;
}

void name_fit(char *to, size_t room, const char *text) {
    size_t size = strlen(text);
    if (size >= room) {
        size = room - 1;
        while (size && ((unsigned char)text[size] & 0xc0) == 0x80) { /* the letter does not begin here */
            size--;
        }
    }
    memcpy(to, text, size);
    to[size] = '\0';
}

int name_check(const char *name, struct problem *ret_problem) {
    const char *fault = name_fault(name ? name : "");
    return fault ? problem_set(ret_problem, PROBLEM_INVALID, "bad-name", "name", "The name %s.", fault) : 0;
}
