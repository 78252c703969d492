#include "cli/import/wgconf.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "cli/import/comment.h"
#include "cli/import/text.h"

enum section {
    SECTION_NONE,
    SECTION_INTERFACE,
    SECTION_PEER,
};

static const char *const section_names[] = {
    [SECTION_NONE] = "", [SECTION_INTERFACE] = "[Interface]", [SECTION_PEER] = "[Peer]"};

struct reader {
    struct wgconf *conf;
    struct buf *fault;
    unsigned line;
    const char *unseen; /* in the line: the name of a character that cannot be seen; NULL: none */
    enum section section;
    unsigned seen;         /* settings of the section so far: bits by their place in the table */
    char above[NAME_SIZE]; /* a comment that may name the next peer */
    enum comment_sureness above_sure;
    enum comment_sureness inside_sure; /* of the current peer's name, if it came from a comment in its section */
    bool has_key;
};

static int wrong(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct reader *r, const char *format, ...) {
    va_list args;
    buf_printf(r->fault, "line %u: ", r->line);
    va_start(args, format);
    buf_vprintf(r->fault, format, args);
    va_end(args);
    if (r->unseen) {
        buf_printf(r->fault, "; the line holds a %s, which cannot be seen: type it anew", r->unseen);
    }
    return -EINVAL;
}

/* A word of the file for a message: at most 40 bytes, and nothing of what may be a key. */
static const char *shown(const char *text, char room[48]) {
    snprintf(room, 48, "%.40s", text_may_be_shown(text) ? text : "...");
    return room;
}

static void note_at(struct wgconf *conf, enum wgconf_oddity oddity, unsigned line) {
    struct wgconf_note *note = &conf->notes[oddity];
    if (note->count && note->count <= WGCONF_NOTE_LINES && note->lines[note->count - 1] == line) {
        return; /* twice in a line is once */
    }
    if (note->count < WGCONF_NOTE_LINES) {
        note->lines[note->count] = line;
    }
    note->count++;
}

static void note(struct reader *r, enum wgconf_oddity oddity) {
    note_at(r->conf, oddity, r->line);
}

static void peer_free(struct wgconf_peer *peer) {
    free(peer->allowed);
    free(peer->endpoint_host);
    sodium_memzero(peer, sizeof *peer);
}

void wgconf_free(struct wgconf *conf) {
    if (!conf) {
        return;
    }
    for (size_t i = 0; i < conf->peer_count; i++) {
        peer_free(&conf->peers[i]);
    }
    free(conf->peers);
    sodium_memzero(conf, sizeof *conf);
    free(conf);
}

/* --- pieces of a line --- */

/* Cuts blanks off both ends, in place. */
static char *trim(char *text) {
    size_t size = strlen(text);
    while (size && isspace((unsigned char)text[size - 1])) {
        text[--size] = '\0';
    }
    while (isspace((unsigned char)*text)) {
        text++;
    }
    return text;
}

/* Takes out all blanks, in place, as wg does with its lines. Whether there were any within the text. */
static bool squeeze(char *text) {
    char *out = text;
    bool within = false, blank = false;
    for (const char *in = text; *in; in++) {
        if (isspace((unsigned char)*in)) {
            blank = out > text;
        } else {
            within |= blank;
            *out++ = *in;
        }
    }
    *out = '\0';
    return within;
}

/* --- comments --- */

static void take_comment(struct reader *r, const char *comment) {
    char name[NAME_SIZE];
    if (text_holds_key(comment)) {
        note(r, WGCONF_SECRET);
    }
    enum comment_sureness sure = comment_name(comment, name);
    if (sure == COMMENT_ENDS) {
        r->above_sure = COMMENT_NO_NAME;
    } else if (sure != COMMENT_NO_NAME && sure >= r->above_sure) {
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
    r->above_sure = COMMENT_NO_NAME;
}

/* --- sections --- */

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
        r->unseen = NULL;
        return wrong(r, "this [Peer] has no PublicKey; give it one, or take it out");
    }
    return 0;
}

static int take_section(struct reader *r, char *name) {
    char room[48];
    unsigned line = r->line;
    const char *unseen = r->unseen;
    int error = end_section(r);
    if (error < 0) {
        return error;
    }
    r->line = line;
    r->unseen = unseen;
    if (squeeze(name)) {
        note(r, WGCONF_BLANKS);
    }
    if (strcasecmp(name, "[Interface]") == 0) {
        r->section = SECTION_INTERFACE;
    } else if (strcasecmp(name, "[Peer]") == 0) {
        struct wgconf_peer *peer = peer_add(r->conf);
        if (!peer) {
            return -ENOMEM;
        }
        peer->line = line;
        if (r->above_sure != COMMENT_NO_NAME) {
            memcpy(peer->name, r->above, sizeof peer->name);
        }
        r->section = SECTION_PEER;
        r->inside_sure = COMMENT_NO_NAME;
        r->has_key = false;
    } else {
        return wrong(r, "there is no section %s; a WireGuard configuration has [Interface] and [Peer]",
                     shown(name, room));
    }
    r->seen = 0;
    r->above_sure = COMMENT_NO_NAME;
    return 0;
}

/* --- values --- */

static struct wgconf_peer *current(struct reader *r) {
    return &r->conf->peers[r->conf->peer_count - 1];
}

static int read_number(const char *text, int base, unsigned long most, unsigned long *ret_number) {
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, base);
    if (!isdigit((unsigned char)*text) || *end || errno || number > most) {
        return -EINVAL;
    }
    *ret_number = number;
    return 0;
}

static int take_key(struct reader *r, const char *name, char *value, struct key *ret_key) {
    if (squeeze(value)) {
        note(r, WGCONF_BLANKS);
    }
    /* never the value itself: it may be a secret with a slip in it */
    return key_from_base64(value, ret_key) < 0
               ? wrong(r, "%s is not a WireGuard key (44 characters of base64, as \"wg genkey\" prints)", name)
               : 0;
}

typedef int each_fn(struct reader *r, char *item);

/* Calls for each of the items that any of `separators` separate. */
static int take_list(struct reader *r, char *value, const char *separators, each_fn *each) {
    int error = 0;
    size_t size = strlen(value);
    if (strstr(value, ",,") || *value == ',' || value[size - 1] == ',') {
        note(r, WGCONF_COMMAS);
    }
    for (char *rest = NULL, *item = strtok_r(value, separators, &rest); item && error == 0;
         item = strtok_r(NULL, separators, &rest)) {
        error = each(r, item);
    }
    return error;
}

static int add_address(struct reader *r, char *item) {
    struct wgconf *conf = r->conf;
    struct prefix address;
    char room[48];
    if (address_parse(item, &address) < 0) {
        return wrong(r, "Address is an address such as 10.8.0.1/24, not \"%s\"", shown(item, room));
    }
    if (conf->address_count == WGCONF_ADDRESSES_MAX) {
        return wrong(r, "more than %d addresses of the server are not read; take some out", WGCONF_ADDRESSES_MAX);
    }
    conf->addresses[conf->address_count++] = address;
    return 0;
}

static int add_allowed(struct reader *r, char *item) {
    struct wgconf_peer *peer = current(r);
    struct prefix prefix;
    bool host_bits;
    char room[48];
    if (*item == '+') {
        note(r, WGCONF_PLUS);
        item++;
    }
    if (prefix_parse(item, &prefix, &host_bits) < 0) {
        return wrong(r, "AllowedIPs has prefixes such as 10.8.0.2/32, not \"%s\"", shown(item, room));
    }
    if (host_bits) {
        note(r, WGCONF_HOST_BITS);
    }
    if ((peer->allowed_count & (peer->allowed_count - 1)) == 0) {
        size_t room_for = peer->allowed_count ? peer->allowed_count * 2 : 1;
        struct prefix *more = reallocarray(peer->allowed, room_for, sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        peer->allowed = more;
    }
    peer->allowed[peer->allowed_count++] = prefix;
    return 0;
}

static int take_private_key(struct reader *r, char *value) {
    return take_key(r, "PrivateKey", value, &r->conf->private_key);
}

static int take_listen_port(struct reader *r, char *value) {
    unsigned long port;
    char room[48];
    squeeze(value);
    if (read_number(value, 10, UINT16_MAX, &port) < 0) {
        return wrong(r, "ListenPort is a number up to 65535, not \"%s\"", shown(value, room));
    }
    r->conf->listen_port = (uint16_t)port;
    return 0;
}

static int take_fwmark(struct reader *r, char *value) {
    unsigned long mark = 0;
    char room[48];
    squeeze(value);
    bool hex = strncasecmp(value, "0x", 2) == 0;
    if (strcasecmp(value, "off") != 0 &&
        (read_number(value, hex ? 16 : 10, UINT32_MAX, &mark) < 0 || !value[hex * 2])) {
        return wrong(r, "FwMark is \"off\" or a number up to 0xffffffff, not \"%s\"", shown(value, room));
    }
    r->conf->fwmark = (struct fwmark){.given = true, .mark = (uint32_t)mark};
    return 0;
}

static int take_mtu(struct reader *r, char *value) {
    unsigned long mtu;
    char room[48];
    if (read_number(value, 0, UINT16_MAX, &mtu) < 0) {
        return wrong(r, "MTU is a number up to 65535, not \"%s\"", shown(value, room));
    }
    r->conf->mtu = (unsigned)mtu;
    return 0;
}

static int take_address(struct reader *r, char *value) {
    return take_list(r, value, ", \t\r\n\v\f", add_address);
}

static int take_table(struct reader *r, char *value) {
    if (strcasecmp(value, "auto") != 0) {
        note(r, WGCONF_TABLE);
    }
    return 0;
}

static int take_script(struct reader *r, char *value) {
    (void)value;
    note(r, WGCONF_SCRIPTS);
    return 0;
}

static int take_dns(struct reader *r, char *value) {
    (void)value;
    note(r, WGCONF_DNS);
    return 0;
}

static int take_save(struct reader *r, char *value) {
    char room[48];
    if (strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0) {
        return wrong(r, "SaveConfig is \"true\" or \"false\", not \"%s\"", shown(value, room));
    }
    if (strcasecmp(value, "true") == 0) {
        note(r, WGCONF_SAVE);
    }
    return 0;
}

static int take_public_key(struct reader *r, char *value) {
    r->has_key = true;
    return take_key(r, "PublicKey", value, &current(r)->public_key);
}

static int take_preshared_key(struct reader *r, char *value) {
    current(r)->says_preshared_key = true;
    return take_key(r, "PresharedKey", value, &current(r)->preshared_key);
}

static int take_allowed(struct reader *r, char *value) {
    squeeze(value);
    return take_list(r, value, ",", add_allowed);
}

static int take_keepalive(struct reader *r, char *value) {
    unsigned long seconds = 0;
    char room[48];
    squeeze(value);
    if (strcasecmp(value, "off") != 0 && read_number(value, 10, UINT16_MAX, &seconds) < 0) {
        return wrong(r, "PersistentKeepalive is \"off\" or a number of seconds up to 65535, not \"%s\"",
                     shown(value, room));
    }
    current(r)->keepalive = (uint16_t)seconds;
    current(r)->says_keepalive = true;
    if (seconds) {
        note(r, WGCONF_KEEPALIVE);
    }
    return 0;
}

/* "host:port", "1.2.3.4:port", "[::1]:port"; as wg has it, the last colon is the port's. Splits in place. */
static int split_endpoint(char *value, char **ret_host, uint16_t *ret_port) {
    char *host = value, *colon = strrchr(value, ':');
    unsigned long port;
    if (*host == '[') {
        char *close = strchr(host, ']');
        if (!close || close + 1 != colon) {
            return -EINVAL;
        }
        *close = '\0';
        host++;
    }
    if (!colon || read_number(colon + 1, 10, UINT16_MAX, &port) < 0) {
        return -EINVAL;
    }
    *colon = '\0';
    if (!*host || strlen(host) >= WGCONF_HOST_SIZE) {
        return -EINVAL;
    }
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return 0;
}

static bool is_host_name(const char *host) {
    return strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == strlen(host) &&
           *host != '-';
}

static void set_endpoint(const struct ip_addr *addr, uint16_t port, union endpoint *ret_endpoint) {
    *ret_endpoint = (union endpoint){0};
    if (addr->family == AF_INET) {
        ret_endpoint->in.sin_family = AF_INET;
        ret_endpoint->in.sin_port = htons(port);
        memcpy(&ret_endpoint->in.sin_addr, addr->bytes, 4);
    } else {
        ret_endpoint->in6.sin6_family = AF_INET6;
        ret_endpoint->in6.sin6_port = htons(port);
        memcpy(&ret_endpoint->in6.sin6_addr, addr->bytes, 16);
    }
}

static int take_endpoint(struct reader *r, char *value) {
    struct wgconf_peer *peer = current(r);
    struct ip_addr addr;
    uint16_t port;
    char *host, whole[48];
    squeeze(value);
    shown(value, whole);
    if (split_endpoint(value, &host, &port) < 0) {
        return wrong(r, "Endpoint is HOST:PORT, as 192.0.2.1:51820 or [2001:db8::1]:51820, not \"%s\"", whole);
    }
    peer->endpoint = (union endpoint){0};
    free(peer->endpoint_host);
    peer->endpoint_host = NULL;
    if (!port || strchr(host, '%')) {
        note(r, WGCONF_ENDPOINT);
    } else if (ip_parse(host, &addr) == 0) {
        set_endpoint(&addr, port, &peer->endpoint);
    } else if (is_host_name(host)) {
        peer->endpoint_host = strdup(host);
        peer->endpoint_port = port;
        return peer->endpoint_host ? 0 : -ENOMEM;
    } else {
        return wrong(r, "Endpoint has neither an address nor a host name: \"%s\"", whole);
    }
    return 0;
}

/* --- settings --- */

static const struct setting {
    const char *name;
    enum section section;
    int (*take)(struct reader *r, char *value); /* the value is not empty, and blanks are cut off its ends */
    bool gathers;                               /* several lines add up */
    bool often_empty;                           /* as panels write it: not worth a note */
} settings[] = {
    {"PrivateKey", SECTION_INTERFACE, take_private_key, false, false},
    {"ListenPort", SECTION_INTERFACE, take_listen_port, false, false},
    {"FwMark", SECTION_INTERFACE, take_fwmark, false, false},
    {"Address", SECTION_INTERFACE, take_address, true, false},
    {"MTU", SECTION_INTERFACE, take_mtu, false, true},
    {"DNS", SECTION_INTERFACE, take_dns, true, true},
    {"Table", SECTION_INTERFACE, take_table, false, true},
    {"PreUp", SECTION_INTERFACE, take_script, true, true},
    {"PostUp", SECTION_INTERFACE, take_script, true, true},
    {"PreDown", SECTION_INTERFACE, take_script, true, true},
    {"PostDown", SECTION_INTERFACE, take_script, true, true},
    {"SaveConfig", SECTION_INTERFACE, take_save, false, false},
    {"PublicKey", SECTION_PEER, take_public_key, false, false},
    {"PresharedKey", SECTION_PEER, take_preshared_key, false, false},
    {"AllowedIPs", SECTION_PEER, take_allowed, true, false},
    {"Endpoint", SECTION_PEER, take_endpoint, false, false},
    {"PersistentKeepalive", SECTION_PEER, take_keepalive, false, false},
};
#define SETTINGS (sizeof settings / sizeof *settings)

/* Letters to change, take out or put in to make one word of the other (Levenshtein), for words of up to 31. */
static unsigned distance(const char *a, const char *b) {
    unsigned row[32];
    size_t width = strlen(b);
    if (strlen(a) > 31 || width > 31) {
        return UINT16_MAX;
    }
    for (unsigned j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (unsigned i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            unsigned changed = diagonal + (tolower((unsigned char)a[i]) != tolower((unsigned char)b[j]));
            unsigned other = 1 + (row[j] < row[j + 1] ? row[j] : row[j + 1]);
            diagonal = row[j + 1];
            row[j + 1] = changed < other ? changed : other;
        }
    }
    return row[width];
}

static int unknown_setting(struct reader *r, const char *name) {
    const struct setting *nearest = &settings[0];
    char room[48];
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strcasecmp(settings[i].name, name) == 0) {
            return wrong(r, "%s stands in %s, where it has no meaning; it belongs into %s", settings[i].name,
                         section_names[r->section], section_names[settings[i].section]);
        }
        if (distance(name, settings[i].name) < distance(name, nearest->name)) {
            nearest = &settings[i];
        }
    }
    if (distance(name, nearest->name) <= 2) {
        return wrong(r, "there is no setting \"%s\"; %s is meant, probably", shown(name, room), nearest->name);
    }
    return wrong(r, "WireGuard has no setting \"%s\" in %s; take the line out, or put a # before it", shown(name, room),
                 section_names[r->section]);
}

static int take_value(struct reader *r, char *text) {
    char *equals = strchr(text, '='), room[48];
    if (!equals) {
        return wrong(r, "is neither a section, nor NAME = VALUE, nor a comment");
    }
    *equals = '\0';
    char *name = trim(text), *value = trim(equals + 1);
    if (squeeze(name)) {
        note(r, WGCONF_BLANKS);
    }
    if (r->section == SECTION_NONE) {
        return wrong(r, "\"%s\" stands before any section; this is not a WireGuard configuration", shown(name, room));
    }
    const struct setting *setting = NULL;
    for (size_t i = 0; i < SETTINGS && !setting; i++) {
        bool same = settings[i].section == r->section && strcasecmp(settings[i].name, name) == 0;
        setting = same ? &settings[i] : NULL;
    }
    if (!setting) {
        return unknown_setting(r, name);
    }
    if (!*value) {
        if (!setting->often_empty) {
            note(r, WGCONF_EMPTY);
        }
        return 0;
    }
    unsigned bit = 1u << (setting - settings);
    if (r->seen & bit && !setting->gathers) {
        note(r, WGCONF_SETTING_AGAIN);
    }
    r->seen |= bit;
    return setting->take(r, value);
}

static int take_line(struct reader *r, char *line) {
    char *comment = strchr(line, '#');
    bool alone;
    int error = 0;
    if (comment) {
        *comment = '\0';
    }
    char *text = trim(line);
    r->unseen = text_invisible(text);
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
        r->above_sure = COMMENT_NO_NAME;
    }
    return error;
}

/* --- peers that come again --- */

struct entry {
    uint8_t key[KEY_SIZE]; /* or of a name, its hash */
    uint32_t place;        /* + 1 */
};

/* What wg makes of a second [Peer] of one key: its prefixes count, and what it does not say stays. */
static void replace(struct wgconf_peer *former, struct wgconf_peer *peer) {
    if (!peer->says_preshared_key) {
        peer->preshared_key = former->preshared_key;
    }
    if (!peer->endpoint.sa.sa_family && !peer->endpoint_host) {
        peer->endpoint = former->endpoint;
        peer->endpoint_host = former->endpoint_host;
        peer->endpoint_port = former->endpoint_port;
        former->endpoint_host = NULL;
    }
    peer->keepalive = peer->says_keepalive ? peer->keepalive : former->keepalive;
    peer->says_preshared_key |= former->says_preshared_key;
    peer->says_keepalive |= former->says_keepalive;
    if (!peer->name[0]) {
        memcpy(peer->name, former->name, sizeof peer->name);
    }
    peer_free(former);
}

static int join_peers(struct wgconf *conf) {
    struct hash by_key;
    size_t kept = 0;
    int error = 0;
    hash_open(&by_key, KEY_SIZE, sizeof(struct entry));
    for (size_t i = 0; i < conf->peer_count && error == 0; i++) {
        struct entry *entry = hash_put(&by_key, conf->peers[i].public_key.bytes);
        if (!entry) {
            error = -ENOMEM;
        } else if (entry->place) {
            replace(&conf->peers[entry->place - 1], &conf->peers[i]);
            note_at(conf, WGCONF_PEER_AGAIN, conf->peers[i].line);
        }
        if (entry) {
            entry->place = (uint32_t)i + 1;
        }
    }
    hash_free(&by_key);
    for (size_t i = 0; i < conf->peer_count; i++) {
        if (conf->peers[i].line) { /* not replaced */
            conf->peers[kept++] = conf->peers[i];
        }
    }
    sodium_memzero(conf->peers + kept, (conf->peer_count - kept) * sizeof *conf->peers);
    conf->peer_count = kept;
    return error;
}

static int note_twins(struct wgconf *conf) {
    struct hash by_name;
    int error = 0;
    hash_open(&by_name, KEY_SIZE, sizeof(struct entry));
    for (size_t i = 0; i < conf->peer_count && error == 0; i++) {
        const char *name = conf->peers[i].name;
        uint8_t hash[KEY_SIZE];
        crypto_generichash(hash, sizeof hash, (const unsigned char *)name, strlen(name), NULL, 0);
        struct entry *entry = *name ? hash_put(&by_name, hash) : NULL;
        error = *name && !entry ? -ENOMEM : 0;
        if (entry && entry->place) {
            note_at(conf, WGCONF_TWINS, conf->peers[i].line);
        } else if (entry) {
            entry->place = (uint32_t)i + 1;
        }
    }
    hash_free(&by_name);
    return error;
}

/* --- the whole --- */

static int take_bytes(struct reader *r, char *line, size_t size) {
    if (r->line == 1 && text_is_utf16(line, size)) {
        return wrong(r, "this file is in UTF-16; save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8");
    }
    if (strlen(line) != size) {
        return wrong(r, "holds a NUL byte; this is not a text file");
    }
    size_t mark = r->line == 1 ? text_mark_size(line) : 0;
    if (mark) {
        note(r, WGCONF_MARK);
    }
    return take_line(r, line + mark);
}

int wgconf_read(FILE *file, struct wgconf **ret_conf, struct buf *ret_fault) {
    struct reader r = {.fault = ret_fault, .conf = calloc(1, sizeof *r.conf)};
    size_t room = 4096; /* longer than lines with keys: none is left behind where getline() moves on */
    char *line = malloc(room);
    ssize_t size;
    int error = r.conf && line ? 0 : -ENOMEM;
    while (error == 0 && (size = getline(&line, &room, file)) >= 0) {
        r.line++;
        error = take_bytes(&r, line, (size_t)size);
    }
    if (error == 0 && ferror(file)) {
        buf_printf(ret_fault, "the file cannot be read: %s", strerror(errno));
        error = -EIO;
    }
    error = error < 0 ? error : end_section(&r);
    error = error < 0 ? error : join_peers(r.conf);
    error = error < 0 ? error : note_twins(r.conf);
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

/* --- notes --- */

static const char *const note_texts[] = {
    [WGCONF_MARK] = "the file begins with a byte order mark, which wg(8) refuses; it is skipped",
    [WGCONF_BLANKS] = "blanks within a name or a key do not count, as wg(8) has it",
    [WGCONF_EMPTY] = "a setting without a value counts as not given",
    [WGCONF_HOST_BITS] =
        "bits behind the length of a prefix are cleared, as WireGuard does: 192.168.1.1/24 is 192.168.1.0/24",
    [WGCONF_COMMAS] = "commas with nothing between them do not count",
    [WGCONF_PLUS] = "a \"+\" before a prefix only adds it, and so does the plain prefix",
    [WGCONF_SETTING_AGAIN] = "the setting stands in this section before; the last one counts, as in wg(8)",
    [WGCONF_PEER_AGAIN] = "a [Peer] above has this key already; this one counts, as in WireGuard",
    [WGCONF_SECRET] = "this comment may hold a key, which is nobody's name; take it out of the file if it is a secret",
    [WGCONF_TWINS] = "another [Peer] above has the same name; their addresses tell them apart",
    [WGCONF_ENDPOINT] = "this Endpoint is left out: an address within one link, or port 0; the router has to call",
    [WGCONF_TABLE] = "Table is not taken over: routes to LANs are in the main table",
    [WGCONF_SCRIPTS] = "PreUp, PostUp, PreDown and PostDown are not taken over; what they masquerade is egress here: "
                       "sallyport tenant set TENANT --egress on",
    [WGCONF_SAVE] = "SaveConfig is not taken over: the database has all there is",
    [WGCONF_DNS] = "DNS is not taken over: the gateway's host keeps its own resolver",
    [WGCONF_KEEPALIVE] =
        "PersistentKeepalive is not taken over: the gateway sends none by itself. Behind NAT a router needs "
        "its own, as \"router config\" has it; a router that only answers is called when there is "
        "something to send",
};

void wgconf_notes_format(const struct wgconf *conf, const char *name, struct buf *out) {
    for (size_t i = 0; i < WGCONF_ODDITIES; i++) {
        const struct wgconf_note *note = &conf->notes[i];
        unsigned shown_lines = note->count < WGCONF_NOTE_LINES ? note->count : WGCONF_NOTE_LINES;
        for (unsigned j = 0; j < shown_lines; j++) {
            buf_printf(out, "%s%s%u", j ? ", " : name, j ? "" : ":", note->lines[j]);
        }
        if (note->count > shown_lines) {
            buf_printf(out, " and %u more", note->count - shown_lines);
        }
        if (note->count) {
            buf_printf(out, ": %s\n", note_texts[i]);
        }
    }
}
