#include "cli/import/comment.h"

#include <ctype.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "cli/import/text.h"

#define COMMENT_SIZE 512 /* longer ones are prose */

/* --- the forms --- */

/* What stands between a form's word and the name. */
enum behind {
    BEHIND_SIGN,  /* ":" or "=" */
    BEHIND_BLANK, /* a blank, or a sign */
    BEHIND_NONE,  /* nothing: peer_roof */
};

/* What stands behind the name and is not part of it. */
enum tail {
    TAIL_NONE,
    TAIL_NUMBER, /* the panel's own number or UUID: roof (2) */
    TAIL_SLASH,  /* further facts: roof / Updated: ... */
    TAIL_FILE,   /* where the router's configuration is: roof > roof.conf */
    TAIL_JSON,   /* nothing, but the name is within an object */
};

static const struct form {
    const char *tool;
    const char *word;
    enum behind behind;
    enum tail tail;
    enum comment_sureness sureness;
} forms[] = {
    {"wg-easy", "Client:", BEHIND_NONE, TAIL_NUMBER, COMMENT_KNOWN},
    {"angristan's wireguard-install", "Client", BEHIND_BLANK, TAIL_NONE, COMMENT_KNOWN},
    {"Nyr's wireguard-install", "BEGIN_PEER", BEHIND_BLANK, TAIL_NONE, COMMENT_KNOWN},
    {"PiVPN", "begin", BEHIND_BLANK, TAIL_NONE, COMMENT_KNOWN},
    {"linuxserver/wireguard", "peer_", BEHIND_NONE, TAIL_NONE, COMMENT_KNOWN},
    {"wg-portal", "-WGP- Display name", BEHIND_SIGN, TAIL_NONE, COMMENT_DISPLAY},
    {"wg-portal", "-WGP- Peer", BEHIND_SIGN, TAIL_SLASH, COMMENT_KNOWN},
    {"prometheus_wireguard_exporter, wg-portal, OPNsense", "friendly_name", BEHIND_SIGN, TAIL_NONE, COMMENT_FRIENDLY},
    {"prometheus_wireguard_exporter", "friendly_json", BEHIND_SIGN, TAIL_JSON, COMMENT_FRIENDLY},
    {"WGDashboard", "Name#", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    {"wireguard-ui, Sallyport's export", "Name", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    {"pfSense", "Peer", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    {"pfSense", "Description", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    {"Netmaker", "Node", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    {"Netmaker", "Hostname", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    {"scripts", "ClientName", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    {"scripts", "PeerName", BEHIND_SIGN, TAIL_NONE, COMMENT_KNOWN},
    /* the word may be missing: these are told by their tail */
    {"wg-gen-web", "", BEHIND_NONE, TAIL_SLASH, COMMENT_KNOWN},
    {"easy-wg-quick", "", BEHIND_NONE, TAIL_FILE, COMMENT_KNOWN},
};

/* Words that begin a comment which is no name, when a sign follows. */
static const char *const not_names[] = {
    "ID",
    "UUID",
    "Email",
    "E-Mail",
    "Mail",
    "Telegram",
    "Created",
    "Created at",
    "Updated",
    "Update at",
    "AddedAt",
    "Added",
    "Date",
    "Expires",
    "Enabled",
    "Disabled",
    "Status",
    "Tenant",
    "Interface",
    "Password",
    "Token",
    "Key",
    "PublicKey",
    "Public Key",
    "PSK",
    "PrivateKey",
    "PresharedKey",
    "Private Key",
    "Preshared Key",
    "Address",
    "AllowedIPs",
    "Endpoint",
    "DNS",
    "MTU",
    "ListenPort",
    "PersistentKeepalive",
    "FwMark",
    "Table",
    "PreUp",
    "PostUp",
    "PreDown",
    "PostDown",
    "SaveConfig",
    "Groups",
    "Tags",
    "IP",
    "URL",
    "Note",
    "Version",
    "-WGP- PrivateKey",
    "-WGP- PublicKey",
    "-WGP- Peer email",
    "-WGP- Interface",
    "-WGP- Interface mode",
    "-WGP- Interface display name",
};

/* Words at the start of a line that ends a peer. */
static const char *const ends[] = {"END_PEER", "end"};

/* --- pieces of text --- */

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

/* Behind the word if the text begins with it, in any case, else NULL. */
static char *behind_word(char *text, const char *word) {
    size_t size = strlen(word);
    return strncasecmp(text, word, size) == 0 ? text + size : NULL;
}

/* Behind a sign with blanks around it, else NULL. */
static char *behind_sign(char *text) {
    char *at = text + strspn(text, " \t");
    return *at == ':' || *at == '=' ? trim(at + 1, "") : NULL;
}

static char *behind_form(char *text, const struct form *form) {
    char *at = behind_word(text, form->word);
    if (!at) {
        return NULL;
    }
    switch (form->behind) {
    case BEHIND_NONE:
        return trim(at, "");
    case BEHIND_SIGN:
        return behind_sign(at);
    case BEHIND_BLANK:
        return *at && strchr(" \t:=", *at) ? trim(at, ":=") : NULL;
    }
    return NULL;
}

/* "roof (0b7c...)", "roof (2)" */
static void cut_number(char *name) {
    char *open = strrchr(name, '(');
    size_t size = open ? strlen(open) : 0;
    if (size > 2 && open > name && open[size - 1] == ')' && strspn(open + 1, "0123456789abcdefABCDEF-") == size - 2 &&
        (strspn(open + 1, "0123456789") == size - 2 || size > 16)) {
        *open = '\0';
    }
}

/* "10: roof" */
static void drop_place(char *name) {
    size_t digits = strspn(name, "0123456789");
    if (digits && strncmp(name + digits, ": ", 2) == 0) {
        memmove(name, name + digits + 2, strlen(name + digits + 2) + 1);
    }
}

/* The name in {"name": "roof", ...}, in place. "": there is none. */
static void take_json(char *text) {
    static const char *const members[] = {"name", "friendly_name", "username", "hostname"};
    json_t *object = json_loads(text, 0, NULL);
    const char *name = NULL;
    for (size_t i = 0; i < sizeof members / sizeof *members && !name; i++) {
        name = json_string_value(json_object_get(object, members[i]));
    }
    if (name && strlen(name) < strlen(text)) {
        memcpy(text, name, strlen(name) + 1);
    } else {
        *text = '\0';
    }
    json_decref(object);
}

/* Takes the tail off. False: it has not the one that this form is told by. */
static bool cut_tail(char *name, const struct form *form) {
    char *at;
    switch (form->tail) {
    case TAIL_NONE:
        return true;
    case TAIL_NUMBER:
        cut_number(name);
        return true;
    case TAIL_SLASH:
        at = strstr(name, " / ");
        if (at && (form->word[0] || strcasestr(at, " Updated:") || strcasestr(at, " Created:"))) {
            *at = '\0';
        }
        return form->word[0] || (at && !*at);
    case TAIL_FILE:
        at = strstr(name, " > ");
        if (!at || strlen(at) < 5 || strcmp(at + strlen(at) - 5, ".conf") != 0) {
            return false;
        }
        *at = '\0';
        drop_place(name);
        return true;
    case TAIL_JSON:
        take_json(name);
        return true;
    }
    return false;
}

/* --- what is no name --- */

static bool begins_with_setting(char *text) {
    for (size_t i = 0; i < sizeof not_names / sizeof *not_names; i++) {
        char *at = behind_word(text, not_names[i]);
        if (at && behind_sign(at)) {
            return true;
        }
    }
    return false;
}

static bool is_end(char *text) {
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *at = behind_word(text, ends[i]);
        if (at && (!*at || isspace((unsigned char)*at))) {
            return true;
        }
    }
    return false;
}

/* "2024-01-31", "31/01/2024", "10:00:00", wherever it stands. */
static bool holds_date(const char *text) {
    static const char *const forms_of_date[] = {"dddd-dd-dd", "dddd/dd/dd", "dd/dd/dddd", "dd.dd.dddd", "dd:dd:dd"};
    for (; *text; text++) {
        for (size_t i = 0; i < sizeof forms_of_date / sizeof *forms_of_date; i++) {
            const char *form = forms_of_date[i], *at = text;
            while (*form && (*form == 'd' ? isdigit((unsigned char)*at) != 0 : *at == *form)) {
                form++;
                at++;
            }
            if (!*form) {
                return true;
            }
        }
    }
    return false;
}

/* Somebody's own words are guessed at: nothing that looks like data. */
static bool could_be_words(const char *text) {
    const char *at = strchr(text, '@');
    bool mail = at && at > text && !isspace((unsigned char)at[-1]) && strchr(at, '.');
    return !holds_date(text) && !mail && !strchr("{[<\"", *text) && !strstr(text, "://");
}

/* --- all of it --- */

static enum comment_sureness finish(char *name, enum comment_sureness sureness, char ret_name[NAME_SIZE]) {
    name = trim(name, "");
    if (!*name || strlen(name) >= NAME_SIZE || name_fault(name) || text_holds_key(name)) {
        return COMMENT_NO_NAME;
    }
    memcpy(ret_name, name, strlen(name) + 1);
    return sureness;
}

/* Into `work`, without the frame of "#" around it. */
static char *copy(const char *comment, char work[COMMENT_SIZE]) {
    memcpy(work, comment, strlen(comment) + 1);
    return trim(work, "#");
}

enum comment_sureness comment_name(const char *comment, char ret_name[NAME_SIZE]) {
    char work[COMMENT_SIZE];
    if (strlen(comment) >= sizeof work || text_holds_key(comment)) {
        return COMMENT_NO_NAME;
    }
    if (strlen(comment) >= 4 && strspn(comment, "#-=*_~ \t\r\n") == strlen(comment)) {
        return COMMENT_ENDS;
    }
    char *text = copy(comment, work);
    if (!*text || begins_with_setting(text)) {
        return COMMENT_NO_NAME;
    }
    if (is_end(text)) {
        return COMMENT_ENDS;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char *name = behind_form(text, &forms[i]);
        if (name && cut_tail(name, &forms[i])) {
            return finish(name, forms[i].sureness, ret_name);
        }
        text = copy(comment, work); /* the attempt may have cut it */
    }
    return could_be_words(text) ? finish(text, COMMENT_WORDS, ret_name) : COMMENT_NO_NAME;
}
