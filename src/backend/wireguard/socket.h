/* What the files of this folder share: the socket, its buffers, and one request with its answer (socket.c), and the
 * device's part of a message (device.c). */
#pragma once

#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdint.h>

#include "backend/attributes.h"
#include "backend/wireguard/wireguard.h"

/* All peers of a message are one attribute, whose length has 16 bits: a message never grows beyond that. */
#define WIREGUARD_MESSAGE_SIZE 65532u
/* A piece of a dump has up to 32 KB (netlink_dump() in the kernel); an error has the whole request behind it. */
#define WIREGUARD_ANSWER_SIZE (WIREGUARD_MESSAGE_SIZE + 64u)
#define WIREGUARD_NAME_SIZE 16

/* From Linux 6.16; older headers do not name them. */
#define WIREGUARD_ALLOWEDIP_FLAGS (WGALLOWEDIP_A_CIDR_MASK + 1)
#define WIREGUARD_ALLOWEDIP_REMOVE_ME 1u

enum wireguard_ability {
    WIREGUARD_UNKNOWN,
    WIREGUARD_ABLE,
    WIREGUARD_UNABLE,
};

struct wireguard {
    wireguard_connect_fn *connect;
    void *context; /* of connect */
    char name[WIREGUARD_NAME_SIZE];
    int fd; /* -1: none; made anew at the next request */
    uint16_t family;
    uint32_t sequence;
    enum wireguard_ability withdrawal;

    /* the message in the making (write.c) */
    struct nlmsghdr *queued; /* in `message`; NULL: none */
    struct nlattr *peers;    /* the nest in it */

    struct prefix *allowed; /* owned: of the peer being read (dump.c) */
    size_t allowed_room;

    _Alignas(8) uint8_t message[WIREGUARD_MESSAGE_SIZE];
    _Alignas(8) uint8_t answer[WIREGUARD_ANSWER_SIZE];
};

/* A WG_CMD_ request for the interface, in w->message. */
struct nlmsghdr *wireguard_begin(struct wireguard *w, uint8_t command, uint16_t flags);

/* Forgets what is queued. */
void wireguard_forget(struct wireguard *w);

/* One message of an answer. Non-zero: no more of the answer is wanted, and the socket is given up. */
typedef int wireguard_answer_fn(void *context, const struct nlmsghdr *message);
/* Sends and hands each message of the answer to `fn` (NULL: only the outcome counts); wipes what it read. `ret_torn`
 * (may be NULL): the kernel said that a dump is of no single moment. 0, what fn said, or -errno. */
int wireguard_exchange(struct wireguard *w, const struct nlmsghdr *message, wireguard_answer_fn *fn, void *context,
                       bool *ret_torn);

/* Fills the device's part of a dump's message; what is not in it stays. -EBADMSG. */
int wireguard_read_device(const struct nlmsghdr *message, struct wireguard_device *device,
                          const struct nlattr **ret_peers);
