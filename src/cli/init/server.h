/* What a first configuration takes over from a WireGuard server that exists: of a live interface of this host, or of a
 * file. */
#pragma once

#include <stdbool.h>

#include "model/key.h"
#include "model/prefix.h"

struct cli;

struct init_server {
    struct key private_key; /* a secret */
    bool live;
    const char *source; /* the interface or the file; borrowed from the command line */
    /* as they go into the configuration; "" where it has none */
    char interface[16];
    char port[12];
    char pool[PREFIX_TEXT_SIZE];
    char hub[IP_TEXT_SIZE];
    char mtu[12];
    char fwmark[12];
    size_t peers;
    bool has_ipv6; /* an address that Sallyport cannot keep */
};

/* From --from-interface or --from; with --key-only, only its key. 0, or -1 after an error was printed. */
int init_server_read(const struct cli *cli, struct init_server **ret_server);
void init_server_say_next(const struct cli *cli, const struct init_server *server);
void init_server_free(struct init_server *server); /* wipes; accepts NULL */
