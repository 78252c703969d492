/* Reads a WireGuard server's configuration: what `wg setconf` and wg-quick(8) take is read as they read it, also as
 * containers and panels keep it, whose comments name the peers (comment.h).
 *
 * Not INI as libraries read it: [Peer] repeats, and a section's repetition, comments and lines of any length count
 * here. The form is that of wg(8), "CONFIGURATION FILE FORMAT", and of wg itself where that is wider: blanks anywhere,
 * even within names and keys; names in any case; "#" starts a comment; the last of several values counts; a [Peer]
 * whose key came before replaces that one. What is odd, and what an import does not take over, is noted with its lines.
 * A line that wg would refuse is refused, with its number and what would be right. No message holds a key. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "model/desired.h"
#include "model/key.h"
#include "model/prefix.h"
#include "model/tenant.h"

#define WGCONF_ADDRESSES_MAX 16
#define WGCONF_NOTE_LINES 6
#define WGCONF_HOST_SIZE 254 /* the longest name of DNS, and NUL */

enum wgconf_oddity {
    /* odd, and read all the same */
    WGCONF_MARK,          /* a byte order mark */
    WGCONF_BLANKS,        /* within a name or a key */
    WGCONF_EMPTY,         /* a setting without a value */
    WGCONF_HOST_BITS,     /* behind the length of a prefix */
    WGCONF_COMMAS,        /* without anything between or behind them */
    WGCONF_PLUS,          /* before a prefix */
    WGCONF_SETTING_AGAIN, /* in one section: the last counts */
    WGCONF_PEER_AGAIN,    /* a key: the last [Peer] counts */
    WGCONF_SECRET,        /* a comment that may hold a key */
    WGCONF_TWINS,         /* peers of one name */
    WGCONF_ENDPOINT,      /* one that cannot be used: a link-local address */
    /* settings that have no place here */
    WGCONF_TABLE,
    WGCONF_SCRIPTS, /* PreUp, PostUp, PreDown, PostDown */
    WGCONF_SAVE,
    WGCONF_DNS,
    WGCONF_KEEPALIVE,
    WGCONF_ODDITIES, /* how many there are */
};

struct wgconf_note {
    unsigned count;                    /* 0: nothing of the kind */
    unsigned lines[WGCONF_NOTE_LINES]; /* of the first ones */
};

struct wgconf_peer {
    unsigned line;        /* of its [Peer] */
    char name[NAME_SIZE]; /* from a comment, above it or in it; "": none */
    struct key public_key;
    struct key preshared_key;                /* zero: none. A secret */
    union endpoint endpoint;                 /* family 0: none, or a name */
    char *endpoint_host;                     /* owned; the name, which nobody has looked up; NULL: none */
    uint16_t endpoint_port;                  /* of the name */
    uint16_t keepalive;                      /* seconds; 0: none */
    bool says_preshared_key, says_keepalive; /* also if it says that there is none */
    struct prefix *allowed;                  /* owned; host bits cleared, as WireGuard does */
    size_t allowed_count;
};

struct wgconf {
    struct key private_key;                        /* zero: none. A secret */
    uint16_t listen_port;                          /* 0: none */
    unsigned mtu;                                  /* 0: none */
    struct fwmark fwmark;                          /* `given` although it is 0 where the file says so */
    struct prefix addresses[WGCONF_ADDRESSES_MAX]; /* with their host bits: 10.8.0.1/24 */
    size_t address_count;
    struct wgconf_peer *peers; /* owned */
    size_t peer_count;
    struct wgconf_note notes[WGCONF_ODDITIES];
};

/* 0, -EINVAL with "line N: ..." in `ret_fault`, -EIO, -ENOMEM. */
int wgconf_read(FILE *file, struct wgconf **ret_conf, struct buf *ret_fault);
/* Wipes. Accepts NULL. */
void wgconf_free(struct wgconf *conf);

/* A sentence for each kind of note, behind "NAME:LINES: ". */
void wgconf_notes_format(const struct wgconf *conf, const char *name, struct buf *out);
