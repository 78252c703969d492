#include "engine/uapi/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *uapi_directory(void) {
    const char *other = secure_getenv(UAPI_DIRECTORY_VARIABLE);
    return other && *other ? other : UAPI_DIRECTORY;
}

/* Letters, digits and _=+.- as wg-quick(8) takes them; "." and ".." would name a directory. */
static bool name_is_fine(const char *name) {
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=+.-";
    size_t size = strlen(name);
    return size > 0 && size < ENGINE_INTERFACE_NAME_SIZE && strspn(name, fine) == size && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

int uapi_path(const char *interface_name, char ret_path[UAPI_PATH_SIZE]) {
    char path[UAPI_PATH_SIZE];
    if (!name_is_fine(interface_name)) {
        return -EINVAL;
    }
    int size = snprintf(path, sizeof path, "%s/%s.sock", uapi_directory(), interface_name);
    if (size < 0 || (size_t)size >= sizeof path) {
        return -ENAMETOOLONG;
    }
    memcpy(ret_path, path, sizeof path);
    return 0;
}

int uapi_text_split(char *line, const char **ret_key, const char **ret_value) {
    char *equals = strchr(line, '=');
    if (!equals || equals == line) {
        return -EINVAL;
    }
    *equals = '\0';
    *ret_key = line;
    *ret_value = equals + 1;
    return 0;
}

int uapi_text_u64(const char *text, uint64_t most, uint64_t *ret_value) {
    uint64_t value = 0;
    if (!*text) {
        return -EINVAL;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') {
            return -EINVAL;
        }
        uint64_t digit = (uint64_t)(*text - '0');
        if (digit > most || value > (most - digit) / 10) {
            return -EINVAL;
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return 0;
}

int uapi_text_bool(const char *text, bool *ret_value) {
    if (strcmp(text, "true") == 0) {
        *ret_value = true;
    } else if (strcmp(text, "false") == 0) {
        *ret_value = false;
    } else {
        return -EINVAL;
    }
    return 0;
}

/* The number of a scope given as a number or as an interface's name; 0 if it is neither. */
static uint32_t scope_id(const char *scope) {
    uint64_t number;
    if (uapi_text_u64(scope, UINT32_MAX, &number) == 0) {
        return (uint32_t)number;
    }
    return if_nametoindex(scope);
}

int uapi_text_endpoint(const char *text, union endpoint *ret_endpoint) {
    const char *percent = strchr(text, '%');
    const char *bracket = strchr(text, ']');
    if (!percent) {
        return endpoint_parse(text, ret_endpoint);
    }
    char bare[ENDPOINT_TEXT_SIZE];
    char scope[IF_NAMESIZE];
    size_t scope_size = bracket > percent ? (size_t)(bracket - percent - 1) : 0;
    if (scope_size == 0 || scope_size >= sizeof scope) {
        return -EINVAL;
    }
    memcpy(scope, percent + 1, scope_size);
    scope[scope_size] = '\0';
    int size = snprintf(bare, sizeof bare, "%.*s%s", (int)(percent - text), text, bracket);
    union endpoint endpoint;
    uint32_t id = scope_id(scope);
    if (size < 0 || (size_t)size >= sizeof bare || id == 0 || endpoint_parse(bare, &endpoint) < 0 ||
        endpoint.sa.sa_family != AF_INET6) {
        return -EINVAL;
    }
    endpoint.in6.sin6_scope_id = id;
    *ret_endpoint = endpoint;
    return 0;
}

int uapi_text_hub_address(const char *text, struct engine_hub_address *ret_address) {
    char hub[IP_TEXT_SIZE];
    const char *equals = strchr(text, '=');
    size_t size = equals ? (size_t)(equals - text) : strlen(text);
    struct engine_hub_address address;
    if (size >= sizeof hub) {
        return -EINVAL;
    }
    memcpy(hub, text, size);
    hub[size] = '\0';
    if (ip_parse(hub, &address.hub) < 0 || ip_parse(equals ? equals + 1 : hub, &address.inside) < 0 ||
        address.hub.family != address.inside.family) {
        return -EINVAL;
    }
    *ret_address = address;
    return 0;
}

int uapi_text_timestamp(const char *text, uint8_t ret_timestamp[MESSAGE_TIMESTAMP_SIZE]) {
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    size_t size = 0;
    if (strlen(text) != sizeof timestamp * 2 ||
        sodium_hex2bin(timestamp, sizeof timestamp, text, sizeof timestamp * 2, NULL, &size, NULL) != 0 ||
        size != sizeof timestamp) {
        return -EINVAL;
    }
    memcpy(ret_timestamp, timestamp, sizeof timestamp);
    return 0;
}

/* Lines are made by the hundred thousand: plain appends, no format strings. */
void uapi_line_text(struct buf *to, const char *key, const char *value) {
    buf_text(to, key);
    buf_append(to, "=", 1);
    buf_text(to, value);
    buf_append(to, "\n", 1);
}

void uapi_line_u64(struct buf *to, const char *key, uint64_t value) {
    char text[21];
    char *at = text + sizeof text - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    uapi_line_text(to, key, at);
}

void uapi_line_key(struct buf *to, const char *key, const struct key *value) {
    char text[KEY_HEX_SIZE];
    uapi_line_text(to, key, key_to_hex(value, text));
    sodium_memzero(text, sizeof text);
}

void uapi_line_uuid(struct buf *to, const char *key, const struct uuid *value) {
    char text[UUID_TEXT_SIZE];
    uapi_line_text(to, key, uuid_format(value, text));
}

void uapi_line_prefix(struct buf *to, const char *key, const struct prefix *value) {
    char text[PREFIX_TEXT_SIZE];
    uapi_line_text(to, key, prefix_format(value, text));
}

void uapi_line_endpoint(struct buf *to, const char *key, const union endpoint *value) {
    char text[ENDPOINT_TEXT_SIZE];
    endpoint_format(value, text);
    char *bracket = strchr(text, ']');
    if (value->sa.sa_family == AF_INET6 && value->in6.sin6_scope_id && bracket) {
        buf_printf(to, "%s=%.*s%%%u%s\n", key, (int)(bracket - text), text, value->in6.sin6_scope_id, bracket);
    } else {
        uapi_line_text(to, key, text);
    }
}

void uapi_line_hub_address(struct buf *to, const char *key, const struct engine_hub_address *value) {
    char hub[IP_TEXT_SIZE * 2];
    ip_format(&value->hub, hub);
    if (!ip_equal(&value->hub, &value->inside)) {
        size_t size = strlen(hub);
        hub[size] = '=';
        ip_format(&value->inside, hub + size + 1);
    }
    uapi_line_text(to, key, hub);
}

void uapi_line_timestamp(struct buf *to, const char *key, const uint8_t value[MESSAGE_TIMESTAMP_SIZE]) {
    char text[MESSAGE_TIMESTAMP_SIZE * 2 + 1];
    uapi_line_text(to, key, sodium_bin2hex(text, sizeof text, value, MESSAGE_TIMESTAMP_SIZE));
}
