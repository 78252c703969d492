#include "engine/io/steer.h"

#include <errno.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/socket.h>

#include "wire/message.h"

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

#define NO_SOCKET UINT32_MAX /* no group is that large: the kernel falls back to its hash */

/* The top byte of a little-endian 32-bit index is its last. */
#define TOP_BYTE(message) (offsetof(struct message, receiver) + 3)
#define WORKER_IN_TOP_BYTE (STEER_WORKER_SHIFT - 24)

/* Offset 0 is the first byte of the UDP payload. A load past the end of a short datagram ends the program with 0: the
 * first worker gets it and drops it. */
static const struct sock_filter program[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MESSAGE_DATA, 3, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MESSAGE_COOKIE_REPLY, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MESSAGE_RESPONSE, 3, 0),
    BPF_STMT(BPF_RET | BPF_K, NO_SOCKET),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TOP_BYTE(message_data)),
    BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TOP_BYTE(message_response)),
    BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, WORKER_IN_TOP_BYTE),
    BPF_STMT(BPF_RET | BPF_A, 0),
};

_Static_assert(TOP_BYTE(message_data) == TOP_BYTE(message_cookie_reply), "one load serves both");

int steer_attach(int socket_fd) {
    const struct sock_fprog filter = {
        .len = sizeof program / sizeof *program,
        .filter = (struct sock_filter *)program,
    };
    if (setsockopt(socket_fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) < 0) {
        return -errno;
    }
    return 0;
}
