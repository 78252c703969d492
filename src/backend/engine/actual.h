/* The room engine/: sallyport-wg as a backend. It starts the program if nobody answers at its socket (process.h), says
 * what is desired as text (change.h), reads what is (this file), and connects anew when the engine was restarted
 * (engine.c, which is the table of operations). It owns one connection per struct backend; the engine belongs to nobody
 * and outlives us. One caller at a time enters.
 *
 * This file: what an engine's answer says, line by line, as the plain values of model/desired.h. Pure: no I/O.
 *
 * A reader is fed every line of an answer (uapi_client_fn) and ended once; it calls back for each whole record. Values
 * an engine of ours would not write are -EBADMSG. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

/* More than a desired peer can express, by one: enough to know that it is too many. */
#define ACTUAL_ALLOWED_IPS (ROUTER_LANS_MAX + 3)

struct actual_peer_reader {
    backend_peer_fn *fn;
    void *context;
    bool open;
    struct actual_peer peer; /* wiped when handed on */
    struct prefix allowed[ACTUAL_ALLOWED_IPS];
    size_t allowed_count;   /* may be greater than what is kept */
    struct ip_addr inside6; /* of the IPv6 hub address */
    uint64_t handshake_ns;
    uint64_t now; /* the engine's mark */
};

int actual_peer_line(void *reader, const char *key, const char *value);
/* The last record. */
int actual_peer_end(struct actual_peer_reader *reader);

struct actual_tenant_reader {
    backend_tenant_fn *fn;
    void *context;
    bool open;
    struct actual_tenant tenant;
};

int actual_tenant_line(void *reader, const char *key, const char *value);
int actual_tenant_end(struct actual_tenant_reader *reader);

struct actual_device {
    struct key private_key; /* a secret: wipe */
    uint16_t listen_port;
    uint32_t fwmark;
    struct prefix hub[16];
    size_t hub_count;
    unsigned workers;
    char crypto[32];
    char offloads[64];
    char offloads_off[192];
    uint64_t peers, tenants;
};

/* `device` is a struct actual_device, zero at first. */
int actual_device_line(void *device, const char *key, const char *value);
