/* Who is asking: by peer credentials on the Unix socket, by bearer token anywhere. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "api/http/answer.h"
#include "service/service.h"

/* What a connection alone tells. */
struct auth_peer {
    bool local; /* on the Unix socket */
    bool trusted;
    uid_t uid;
    char from[48]; /* "unix:0", by user; "192.0.2.1" */
};

/* Reads the credentials of a Unix socket's peer: uid 0, our own uid and members of the group (if there is one) are
 * trusted. Not a Unix socket, or no credentials: nobody. */
void auth_peer_read(int fd, bool has_group, gid_t group, struct auth_peer *ret_peer);

/* The caller of one request. `authorization` is the header's value or NULL; where it is given it alone counts. False:
 * the refusal is in the answer. */
bool auth_caller(struct service *service, const struct auth_peer *peer, const char *authorization,
                 struct caller *ret_caller, struct answer *answer);
