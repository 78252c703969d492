/* Reads a WireGuard server's configuration: what `wg setconf` and wg-quick(8) take, also as containers keep it
 * (linuxserver/wireguard, wg-easy), whose comments name the peers.
 *
 * Not INI as libraries read it: [Peer] repeats, and a section's repetition, comments and lines of any length count
 * here. The form is that of wg(8), "CONFIGURATION FILE FORMAT": names in any case, blanks anywhere, "#" starts a
 * comment. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "model/key.h"
#include "model/prefix.h"
#include "model/tenant.h"

#define WGCONF_ADDRESSES_MAX 16

struct wgconf_peer {
    unsigned line;        /* of its [Peer] */
    char name[NAME_SIZE]; /* from a comment, above it or in it; "": none */
    struct key public_key;
    struct key preshared_key; /* zero: none. A secret */
    union endpoint endpoint;  /* family 0: none, or a name */
    struct prefix *allowed;   /* owned; host bits cleared, as WireGuard does */
    size_t allowed_count;
};

struct wgconf {
    struct key private_key;                        /* zero: none. A secret */
    uint16_t listen_port;                          /* 0: none */
    unsigned mtu;                                  /* 0: none */
    struct prefix addresses[WGCONF_ADDRESSES_MAX]; /* with their host bits: 10.8.0.1/24 */
    size_t address_count;
    struct wgconf_peer *peers; /* owned */
    size_t peer_count;
};

/* 0, -EINVAL with "line N: ..." in `fault`, -EIO, -ENOMEM. */
int wgconf_read(FILE *file, struct wgconf **ret_conf, struct buf *fault);
/* Wipes. Accepts NULL. */
void wgconf_free(struct wgconf *conf);
