#include "cli/import/wgconf.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How sure it is that a comment is a name. */
enum sureness {
    SURE_NOT,
    SURE_MAYBE, /* some words */
    SURE_YES,   /* in one of the forms that tools write */
};

enum section {
    SECTION_NONE,
    SECTION_INTERFACE,
    SECTION_PEER,
};

struct reader {
    struct wgconf *conf;
    struct buf *fault;
    unsigned line;
    enum section section;
    char above[NAME_SIZE]; /* a comment that may name the next peer */
    enum sureness above_sure;
    enum sureness inside_sure; /* of the current peer's name, if it came from a comment in its section */
    bool has_key;
};

static int wrong(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct reader *r, const char *format, ...) {
    va_list args;
    buf_printf(r->fault, "line %u: ", r->line);
    va_start(args, format);
    buf_vprintf(r->fault, format, args);
    va_end(args);
    return -EINVAL;
}

void wgconf_free(struct wgconf *conf) {
    if (!conf) {
        return;
    }
    for (size_t i = 0; i < conf->peer_count; i++) {
        free(conf->peers[i].allowed);
    }
    if (conf->peers) {
        sodium_memzero(conf->peers, conf->peer_count * sizeof *conf->peers);
    }
    free(conf->peers);
    sodium_memzero(conf, sizeof *conf);
    free(conf);
}

/* --- names in comments --- */

/* Cuts blanks and any of `also` off both ends, in place. */
static char *trim(char *text, const char *also) {
    size_t size = strlen(text);
    while (size && (isspace((unsigned char)text[size - 1]) || strchr(also, text[size - 1]))) {
        text[--size] = '\0';
    }
    while (*text && (isspace((unsigned char)*text) || strchr(also, *text))) {
        text++;
    }
    return text;
}

/* Behind a word, a blank, ":" or "=" if the text begins with it; else NULL. */
static char *behind(char *text, const char *word) {
    size_t size = strlen(word);
    if (strncasecmp(text, word, size) != 0 || !text[size] || !strchr(" \t:=", text[size])) {
        return NULL;
    }
    return trim(text + size, ":=");
}

/* "roof (0b7c...)": wg-easy's client, whose identifier is of no use here. */
static void drop_identifier(char *name) {
    char *open = strrchr(name, '(');
    size_t size = open ? strlen(open) : 0;
    if (size > 16 && open > name && open[size - 1] == ')' && strspn(open + 1, "0123456789abcdefABCDEF-") == size - 2) {
        *open = '\0';
        (void)trim(name, "");
    }
}

static bool is_setting(const char *text) {
    static const char *const known[] = {"PublicKey",  "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive",
                                        "PrivateKey", "ListenPort",   "Address",    "DNS",      "MTU",
                                        "PostUp",     "PostDown"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t size = strlen(known[i]);
        if (strncasecmp(text, known[i], size) == 0 && strchr(" \t=", text[size])) {
            return true;
        }
    }
    return text[0] == '[';
}

/* What a comment (behind its first "#") calls a peer. */
static enum sureness name_of(char *comment, char name[NAME_SIZE]) {
    static const char *const words[] = {"Client", "friendly_name", "Name", "begin", "BEGIN_PEER", "Peer"};
    char *text = trim(comment, "#");
    enum sureness sure = SURE_MAYBE;
    if (!*text || is_setting(text) || strncasecmp(text, "end ", 4) == 0) {
        return SURE_NOT;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *found = behind(text, words[i]);
        if (found) {
            text = found;
            sure = SURE_YES;
            break;
        }
    }
    if (strncmp(text, "peer_", 5) == 0 && text[5]) {
        text += 5;
        sure = SURE_YES;
    }
    drop_identifier(text);
    text = trim(text, "");
    if (strlen(text) >= NAME_SIZE || name_fault(text)) {
        return SURE_NOT;
    }
    memcpy(name, text, strlen(text) + 1);
    return sure;
}

static void take_comment(struct reader *r, char *comment) {
    char name[NAME_SIZE];
    enum sureness sure = name_of(comment, name);
    if (sure != SURE_NOT && sure >= r->above_sure) {
        memcpy(r->above, name, sizeof name);
        r->above_sure = sure;
    }
}

/* A comment that stands above a line of a peer's section is the peer's: it says more than one above the section. */
static void claim_comment(struct reader *r) {
    struct wgconf_peer *peer = &r->conf->peers[r->conf->peer_count - 1];
    if (r->above_sure > r->inside_sure) {
        memcpy(peer->name, r->above, sizeof peer->name);
        r->inside_sure = r->above_sure;
    }
    r->above_sure = SURE_NOT;
}

/* --- lines --- */

static struct wgconf_peer *peer_add(struct wgconf *conf) {
    size_t count = conf->peer_count;
    if ((count & (count - 1)) == 0) {
        struct wgconf_peer *more = calloc(count ? count * 2 : 1, sizeof *more);
        if (!more) {
            return NULL;
        }
        if (count) {
            memcpy(more, conf->peers, count * sizeof *more);
            sodium_memzero(conf->peers, count * sizeof *more);
        }
        free(conf->peers);
        conf->peers = more;
    }
    return &conf->peers[conf->peer_count++];
}

static int end_section(struct reader *r) {
    if (r->section == SECTION_PEER && !r->has_key) {
        r->line = r->conf->peers[r->conf->peer_count - 1].line;
        return wrong(r, "this [Peer] has no PublicKey; give it one, or take it out");
    }
    return 0;
}

static int take_section(struct reader *r, const char *name) {
    unsigned line = r->line;
    int error = end_section(r);
    r->line = error < 0 ? r->line : line;
    if (error < 0) {
        return error;
    }
    if (strcasecmp(name, "[Interface]") == 0) {
        r->section = SECTION_INTERFACE;
    } else if (strcasecmp(name, "[Peer]") == 0) {
        struct wgconf_peer *peer = peer_add(r->conf);
        if (!peer) {
            return -ENOMEM;
        }
        peer->line = line;
        if (r->above_sure != SURE_NOT) {
            memcpy(peer->name, r->above, sizeof peer->name);
        }
        r->section = SECTION_PEER;
        r->inside_sure = SURE_NOT;
        r->has_key = false;
    } else {
        return wrong(r, "there is no section %.40s; a WireGuard configuration has [Interface] and [Peer]", name);
    }
    r->above_sure = SURE_NOT;
    return 0;
}

static int take_number(struct reader *r, const char *name, const char *value, unsigned most, unsigned *ret_number) {
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || errno || number > most) {
        return wrong(r, "%s is a number up to %u, not \"%.40s\"", name, most, value);
    }
    *ret_number = (unsigned)number;
    return 0;
}

static int take_key(struct reader *r, const char *name, const char *value, struct key *ret_key) {
    /* never the value itself: it may be a secret with a slip in it */
    return key_from_base64(value, ret_key) < 0
               ? wrong(r, "%s is no WireGuard key (44 characters of base64, as \"wg genkey\" prints)", name)
               : 0;
}

typedef int each_fn(struct reader *r, const char *item);

/* Calls for each of the items that commas separate. */
static int take_list(struct reader *r, char *value, each_fn *each) {
    int error = 0;
    for (char *rest = NULL, *item = strtok_r(value, ",", &rest); item && error == 0;
         item = strtok_r(NULL, ",", &rest)) {
        item = trim(item, "");
        error = *item ? each(r, item) : 0;
    }
    return error;
}

static int take_address(struct reader *r, const char *item) {
    struct wgconf *conf = r->conf;
    struct prefix address;
    if (address_parse(item, &address) < 0) {
        return wrong(r, "Address is an address such as 10.8.0.1/24, not \"%.60s\"", item);
    }
    if (conf->address_count < WGCONF_ADDRESSES_MAX) {
        conf->addresses[conf->address_count++] = address;
    }
    return 0;
}

static int take_allowed(struct reader *r, const char *item) {
    struct wgconf_peer *peer = &r->conf->peers[r->conf->peer_count - 1];
    struct prefix prefix;
    if (prefix_parse(item, &prefix, NULL) < 0) {
        return wrong(r, "AllowedIPs has prefixes such as 10.8.0.2/32, not \"%.60s\"", item);
    }
    if ((peer->allowed_count & (peer->allowed_count - 1)) == 0) {
        size_t room = peer->allowed_count ? peer->allowed_count * 2 : 1;
        struct prefix *more = reallocarray(peer->allowed, room, sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        peer->allowed = more;
    }
    peer->allowed[peer->allowed_count++] = prefix;
    return 0;
}

static int take_interface_value(struct reader *r, const char *name, char *value) {
    struct wgconf *conf = r->conf;
    unsigned number = 0;
    if (strcasecmp(name, "PrivateKey") == 0) {
        return take_key(r, "PrivateKey", value, &conf->private_key);
    }
    if (strcasecmp(name, "ListenPort") == 0) {
        int error = take_number(r, "ListenPort", value, UINT16_MAX, &number);
        conf->listen_port = (uint16_t)number;
        return error;
    }
    if (strcasecmp(name, "MTU") == 0) {
        return take_number(r, "MTU", value, UINT16_MAX, &conf->mtu);
    }
    return strcasecmp(name, "Address") == 0 ? take_list(r, value, take_address) : 0;
}

static int take_peer_value(struct reader *r, const char *name, char *value) {
    struct wgconf_peer *peer = &r->conf->peers[r->conf->peer_count - 1];
    if (strcasecmp(name, "PublicKey") == 0) {
        r->has_key = true;
        return take_key(r, "PublicKey", value, &peer->public_key);
    }
    if (strcasecmp(name, "PresharedKey") == 0) {
        return take_key(r, "PresharedKey", value, &peer->preshared_key);
    }
    if (strcasecmp(name, "AllowedIPs") == 0) {
        return take_list(r, value, take_allowed);
    }
    if (strcasecmp(name, "Endpoint") == 0) {
        (void)endpoint_parse(value, &peer->endpoint); /* a name says nothing about where the peer is now */
    }
    return 0;
}

static int take_value(struct reader *r, char *text) {
    char *equals = strchr(text, '=');
    if (!equals) {
        return wrong(r, "is neither a section, nor NAME = VALUE, nor a comment");
    }
    *equals = '\0';
    char *name = trim(text, ""), *value = trim(equals + 1, "");
    int error = 0;
    switch (r->section) {
    case SECTION_NONE:
        return wrong(r, "\"%.40s\" stands before any section; this is no WireGuard configuration", name);
    case SECTION_INTERFACE:
        error = take_interface_value(r, name, value);
        break;
    case SECTION_PEER:
        error = take_peer_value(r, name, value);
        break;
    }
    return error;
}

static int take_line(struct reader *r, char *line) {
    char *comment = strchr(line, '#');
    bool alone;
    int error = 0;
    if (comment) {
        *comment = '\0';
    }
    char *text = trim(line, "");
    alone = !*text;
    if (comment && alone) {
        take_comment(r, comment + 1);
    }
    if (!alone && *text == '[') {
        error = take_section(r, text);
    } else if (!alone) {
        error = take_value(r, text);
    }
    if (error == 0 && comment && !alone && r->section == SECTION_PEER) {
        take_comment(r, comment + 1);
    }
    if (error == 0 && !alone && r->section == SECTION_PEER && (*text != '[' || comment)) {
        claim_comment(r);
    } else if (error == 0 && !alone && r->section == SECTION_INTERFACE) {
        r->above_sure = SURE_NOT;
    }
    return error;
}

int wgconf_read(FILE *file, struct wgconf **ret_conf, struct buf *fault) {
    struct reader r = {.fault = fault, .conf = calloc(1, sizeof *r.conf)};
    size_t room = 4096; /* longer than lines with keys: none is left behind where getline() moves on */
    char *line = malloc(room);
    ssize_t size;
    int error = r.conf && line ? 0 : -ENOMEM;
    while (error == 0 && (size = getline(&line, &room, file)) >= 0) {
        r.line++;
        error =
            strlen(line) == (size_t)size ? take_line(&r, line) : wrong(&r, "holds a NUL byte; this is no text file");
    }
    if (error == 0 && ferror(file)) {
        buf_printf(fault, "the file cannot be read: %s", strerror(errno));
        error = -EIO;
    }
    error = error < 0 ? error : end_section(&r);
    if (line) {
        sodium_memzero(line, room);
    }
    free(line);
    if (error < 0) {
        wgconf_free(r.conf);
        return error;
    }
    *ret_conf = r.conf;
    return 0;
}
