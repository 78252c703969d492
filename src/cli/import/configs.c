#include "cli/import/configs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/wipe.h"
#include "cli/cli.h"
#include "cli/show/field.h"
#include "model/key.h"

#define FILE_MAX (256u << 10)
#define NUMBERS 9 /* then names end in a part of the router's identifier */

/* --- names --- */

/* U+00C0 to U+00FF without their marks: names of places have them, names of interfaces cannot. */
static const char plain[] = "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYTsaaaaaaaceeeeiiiidnooooo-ouuuuyty";

/* One character of the name, which moves on, small since some systems' files know no case; '_' for what has no place in
 * an interface's name. */
static char letter_of(const char **at) {
    const unsigned char *c = (const unsigned char *)*at;
    char letter = isalnum(*c) && *c < 0x80 ? (char)*c : *c == '-' ? '-' : '_';
    size_t size = 1;
    if (c[0] == 0xc3 && c[1] >= 0x80 && c[1] <= 0xbf) {
        letter = plain[c[1] - 0x80];
    }
    while (*c >= 0xc0 && (c[size] & 0xc0) == 0x80) {
        size++;
    }
    *at += size;
    return (char)tolower((unsigned char)letter);
}

/* Names that some system keeps for itself, also with digits behind them. */
static bool is_reserved(const char *name) {
    static const char *const words[] = {"lo",  "all", "default", "con",  "prn", "aux",    "nul",
                                        "com", "lpt", "eth",     "wlan", "br",  "docker", "bonding_masters"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t size = strlen(words[i]);
        if (strncasecmp(name, words[i], size) == 0 && strspn(name + size, "0123456789") == strlen(name + size)) {
            return true;
        }
    }
    return false;
}

/* The router's name in characters that fit, as short as `most`. */
static void stem(const char *router_name, size_t most, char *out) {
    char whole[CONFIGS_NAME_SIZE] = "";
    size_t size = 0;
    for (const char *at = router_name; *at && size < sizeof whole - 1;) {
        char letter = letter_of(&at);
        bool first = size == 0, twice = size && whole[size - 1] == '_' && letter == '_';
        if (!twice && !(first && strchr("-_", letter))) {
            whole[size++] = letter;
        }
    }
    whole[size] = '\0';
    snprintf(out, most + 1, "%s%s", is_reserved(whole) ? "wg-" : "", size ? whole : "router");
    for (size_t n = strlen(out); n && strchr("-_", out[n - 1]); n--) {
        out[n - 1] = '\0';
    }
}

void configs_name(const char *router_name, const char *id, unsigned number, char ret_name[CONFIGS_NAME_SIZE]) {
    char begin[CONFIGS_NAME_SIZE];
    if (number <= 1) {
        stem(router_name, CONFIGS_NAME_SIZE - 1, ret_name);
    } else if (number <= NUMBERS) {
        stem(router_name, CONFIGS_NAME_SIZE - 3, begin);
        snprintf(ret_name, CONFIGS_NAME_SIZE, "%.13s-%c", begin, (char)('0' + number));
    } else {
        stem(router_name, CONFIGS_NAME_SIZE - 10, begin);
        size_t size = strlen(id);
        snprintf(ret_name, CONFIGS_NAME_SIZE, "%.6s-%.8s", begin, size > 8 ? id + size - 8 : id);
    }
}

/* --- files --- */

/* Whether the text has this router's key: as the public half of its PrivateKey, or named in the comment in its place.
 */
static bool holds_router(const char *text, const char *public_key) {
    const char *line = strstr(text, "\nPrivateKey = ");
    char base64[KEY_BASE64_SIZE];
    struct key private_key, key;
    if (strstr(text, public_key)) {
        return true;
    }
    if (!line) {
        return false;
    }
    snprintf(base64, sizeof base64, "%.44s", line + strlen("\nPrivateKey = "));
    bool same = false;
    if (key_from_base64(base64, &private_key) == 0) {
        key_public(&private_key, &key);
        same = strcmp(key_to_base64(&key, base64), public_key) == 0;
    }
    explicit_bzero(&private_key, sizeof private_key);
    explicit_bzero(base64, sizeof base64);
    return same;
}

static bool is_routers_file(const char *path, const json_t *router) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd < 0 ? NULL : malloc(FILE_MAX);
    ssize_t size = text ? read(fd, text, FILE_MAX - 1) : -1;
    bool same = false;
    if (size >= 0) {
        text[size] = '\0';
        same = holds_router(text, field_text(router, "public_key"));
    }
    if (fd >= 0) {
        close(fd);
    }
    wipe_free(text);
    return same;
}

/* What there is where the gateway could not write a configuration: nobody can ask for the keys again. */
static void put_rest(const json_t *router, struct buf *out) {
    const char *preshared_key = field_text(router, "preshared_key");
    buf_printf(out,
               "# The gateway could not write this configuration; see its endpoint. Once that is right, the rest comes "
               "from:\n# sallyport router config %s\n[Interface]\nPrivateKey = %s\nAddress = %s, %s\n",
               field_text(router, "id"), field_text(router, "private_key"), field_text(router, "address"),
               field_text(router, "address6"));
    if (preshared_key[0]) {
        buf_printf(out, "# PresharedKey = %s\n", preshared_key);
    }
}

int configs_write(const char *folder, const json_t *router) {
    const char *config = field_text(router, "config");
    struct buf text = {0};
    int error = -EEXIST;
    buf_text(&text, config);
    if (!config[0]) {
        put_rest(router, &text);
    }
    for (unsigned number = 1; error == -EEXIST && number <= NUMBERS + 1; number++) {
        char name[CONFIGS_NAME_SIZE], path[4096];
        configs_name(field_text(router, "name"), field_text(router, "id"), number, name);
        int size = snprintf(path, sizeof path, "%s/%s.conf", folder, name);
        error = text.failed                            ? -ENOMEM
                : size < 0 || size >= (int)sizeof path ? -ENAMETOOLONG
                                                       : file_create(path, 0600, text.data, text.size);
        if (error == -EEXIST && is_routers_file(path, router)) {
            error = 1;
        } else if (error < 0 && error != -EEXIST) {
            cli_error("%s cannot be written: %s", path, strerror(-error));
        } else if (error == -EEXIST && number > NUMBERS) {
            cli_error("%s is there already and another router's", path);
        }
    }
    buf_free(&text);
    return error == 0 && !config[0] ? -EBADMSG : error;
}
