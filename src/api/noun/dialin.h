/* The configuration a router dials in with, as text: joins a router, its tenant and the gateway for export/. */
#pragma once

#include "base/buf.h"
#include "export/formats.h"
#include "service/service.h"

struct dialin_network {
    struct prefix prefix;
    struct uuid router_id; /* whose LAN it is, which is not behind that router's own tunnel; zero: of them all */
};

/* What is the same for all routers of a tenant. Zero, but for `gateway`, until it is opened; it may be opened again. */
struct dialin {
    struct service_gateway gateway;
    struct uuid tenant_id;
    char tenant_name[NAME_SIZE];
    struct dialin_network *networks; /* owned; all that lies behind the tunnels */
    size_t network_count, network_room;
    struct prefix *allowed; /* owned; room for as many */
    size_t allowed_room;
    bool sorted;
    bool failed; /* not all is known, for want of memory for instance: then nothing is formatted */
};

/* For a tenant that was made just now, whose routers are learned one by one. */
void dialin_open(struct dialin *dialin, const struct service_gateway *gateway, const struct tenant *tenant);
/* Takes note of a router's LANs, and of its address if that is in none of the tenant's known networks. */
void dialin_learn(struct dialin *dialin, const struct router *router);
/* Opens for the tenant of that id, with its networks and the LANs of all its routers. 0, or -errno with `ret_problem`.
 */
int dialin_open_all(struct dialin *dialin, struct service *service, const struct caller *caller,
                    const struct uuid *tenant_id, struct problem *ret_problem);
/* Appends a router's text. `private_key` NULL: a comment says where it belongs. 0, -EINVAL, -EMSGSIZE, -ENOMEM. */
int dialin_format(struct dialin *dialin, const struct export_format *format, enum dial_family family,
                  const struct router *router, const struct key *private_key, bool with_preshared_key, struct buf *out);
/* Frees what it owns. */
void dialin_close(struct dialin *dialin);
