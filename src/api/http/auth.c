#include "api/http/auth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "model/prefix.h"

/* Linux 4.13: the peer's supplementary groups. */
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

static bool peer_in_group(int fd, gid_t group) {
    gid_t some[64];
    gid_t *groups = some;
    socklen_t size = sizeof some;
    bool found = false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
        /* The kernel then told how much room it wants. */
        groups = size > sizeof some ? malloc(size) : NULL;
        if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
            free(groups);
            return false;
        }
    }
    for (size_t i = 0; i < size / sizeof *groups && !found; i++) {
        found = groups[i] == group;
    }
    if (groups != some) {
        free(groups);
    }
    return found;
}

static void read_address(int fd, char *text, size_t room) {
    union endpoint peer = {0};
    socklen_t size = sizeof peer;
    if (getpeername(fd, &peer.sa, &size) < 0) {
        return;
    }
    const void *address =
        peer.sa.sa_family == AF_INET6 ? (const void *)&peer.in6.sin6_addr : (const void *)&peer.in.sin_addr;
    if (!inet_ntop(peer.sa.sa_family, address, text, (socklen_t)room)) {
        text[0] = '\0';
    }
}

void auth_peer_read(int fd, bool has_group, gid_t group, struct auth_peer *ret_peer) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    int family = 0;
    socklen_t family_size = sizeof family;
    *ret_peer = (struct auth_peer){.uid = (uid_t)-1};
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &family_size) < 0 || family != AF_UNIX) {
        read_address(fd, ret_peer->from, sizeof ret_peer->from);
        return;
    }
    ret_peer->local = true;
    snprintf(ret_peer->from, sizeof ret_peer->from, "unix");
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        return;
    }
    ret_peer->uid = peer.uid;
    snprintf(ret_peer->from, sizeof ret_peer->from, "unix:%u", (unsigned)peer.uid);
    ret_peer->trusted =
        peer.uid == 0 || peer.uid == geteuid() || (has_group && (peer.gid == group || peer_in_group(fd, group)));
}

/* The token of "Bearer sp_...", or NULL. */
static const char *bearer_token(const char *authorization) {
    if (strncasecmp(authorization, "Bearer ", 7) != 0) {
        return NULL;
    }
    const char *token = authorization + 7;
    token += strspn(token, " ");
    return *token && strlen(token) < TOKEN_TEXT_SIZE ? token : NULL;
}

bool auth_caller(struct service *service, const struct auth_peer *peer, const char *authorization,
                 struct caller *ret_caller, struct answer *answer) {
    if (authorization) {
        const char *token = bearer_token(authorization);
        int error = token ? service_token_check(service, token, ret_caller) : -EACCES;
        if (error == 0) {
            return true;
        }
        if (error != -EACCES) {
            answer_refuse(answer, 503, "tokens-unreadable", NULL,
                          "The token cannot be looked up because the database does not answer. Try again in a moment.");
            return false;
        }
        answer_refuse(answer, 401, "invalid-token", NULL,
                      "The bearer token is unknown, revoked or expired. Make one with `sallyport token add`.");
        return false;
    }
    if (peer->trusted) {
        *ret_caller = (struct caller){.scope = SCOPE_ADMIN};
        snprintf(ret_caller->actor, sizeof ret_caller->actor, "uid:%u", (unsigned)peer->uid);
        return true;
    }
    if (peer->local) {
        answer_refuse(answer, 401, "unauthorized", NULL,
                      "User %u is neither root nor a member of the group that may use this socket. Join the group, or "
                      "send a token as \"Authorization: Bearer sp_...\".",
                      (unsigned)peer->uid);
    } else {
        answer_refuse(
            answer, 401, "unauthorized", NULL,
            "A token is needed: send it as \"Authorization: Bearer sp_...\". `sallyport token add` makes one.");
    }
    return false;
}
