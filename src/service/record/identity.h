/* Who we are: this gateway among those of its database, and what routers dial. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "model/dial.h"
#include "model/key.h"
#include "model/prefix.h"
#include "model/router.h"
#include "store/noun/tenants.h"

struct service_gateway {
    struct key public_key;
    char endpoint_host[256];
    uint16_t endpoint_port;
    struct prefix pool;
    struct prefix ula;
    struct ip_addr hub_address;
    struct ip_addr hub_address6;
    unsigned mtu;
    enum dial_family family;
};

struct identity {
    /* immutable once open */
    char name[GATEWAY_NAME_SIZE];
    char region[GATEWAY_NAME_SIZE];
    struct gateway_columns columns; /* `gateway`, as written into rows */

    /* Set while the database is settled (attach.c); immutable from then on, and only then is it reached (reach.h). Of
     * `gateway` that is the ULA alone, under the mutex: the API may show the gateway while it waits. */
    int64_t id; /* of our row among the gateways */
    struct service_gateway gateway;
    pthread_mutex_t mutex;
};
