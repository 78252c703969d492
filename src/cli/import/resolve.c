#include "cli/import/resolve.h"

#include <netdb.h>
#include <string.h>

#include "base/clock.h"

#define TIME_NS (10 * NSEC_PER_SEC) /* where there is no resolver, each name takes seconds */

/* 0, or -1 with why not. */
static int look_up(const char *host, uint16_t port, union endpoint *ret_endpoint, const char **ret_why) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error) {
        *ret_why = gai_strerror(error);
        return -1;
    }
    *ret_endpoint = (union endpoint){0};
    memcpy(ret_endpoint, found->ai_addr,
           found->ai_addrlen < sizeof *ret_endpoint ? found->ai_addrlen : sizeof *ret_endpoint);
    if (ret_endpoint->sa.sa_family == AF_INET) {
        ret_endpoint->in.sin_port = htons(port);
    } else {
        ret_endpoint->in6.sin6_port = htons(port);
    }
    freeaddrinfo(found);
    return 0;
}

void resolve_endpoints(struct wgconf *conf, const char *name, struct buf *said) {
    uint64_t until = clock_mono_ns() + TIME_NS;
    for (size_t i = 0; i < conf->peer_count; i++) {
        struct wgconf_peer *peer = &conf->peers[i];
        const char *why = "there was no time left";
        char text[ENDPOINT_TEXT_SIZE];
        if (!peer->endpoint_host) {
            continue;
        }
        if (clock_mono_ns() < until && look_up(peer->endpoint_host, peer->endpoint_port, &peer->endpoint, &why) == 0) {
            buf_printf(said,
                       "%s:%u: %s is %s now, where the gateway calls the router until it speaks from elsewhere; the "
                       "name is not looked up again\n",
                       name, peer->line, peer->endpoint_host, endpoint_format(&peer->endpoint, text));
        } else {
            buf_printf(said,
                       "%s:%u: %s cannot be looked up here (%s): the gateway does not call this router; it has to call "
                       "first\n",
                       name, peer->line, peer->endpoint_host, why);
        }
    }
}
