#include "backend/isolate/hold.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/membarrier.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <nftables/libnftables.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "backend/isolate/fence.h"
#include "base/clock.h"

/* Packets. Each also costs a message to us, of which none is read: they wait in the socket and go with it. */
#define HELD_MOST 32768u
#define MESSAGE_ROOM 1280u
/* A number that others hardly use; if they do, one of the next. */
#define FIRST_QUEUE 23057u
#define QUEUES 64u
/* Later than any packet's: numbers begin with 1, and are compared as distances. */
#define LAST_PACKET 0x7fffffffu
#define PASSED_NS (20 * NSEC_PER_MSEC)

/* "owner": it goes when the socket behind `nft` is closed. "bypass": no queue, no holding. Where it stands among other
 * chains does not matter, but addresses have been translated: what was held does not find another way afterwards. */
static const char table_text[] = "table inet sallyport_%s_hold {\n"
                                 "\tflags owner\n"
                                 "\tchain postrouting {\n"
                                 "\t\ttype filter hook postrouting priority srcnat + 10; policy accept;\n"
                                 "\t\toifname \"%s\" queue num %u bypass\n"
                                 "\t}\n"
                                 "}\n";
static const char flush_text[] = "flush chain inet sallyport_%s_hold postrouting";
#define COMMAND_SIZE (sizeof table_text + 64)

struct hold {
    struct nft_ctx *nft;
    int fd; /* of the queue */
    uint16_t queue;
    char interface_name[16];
};

void hold_until_passed(void) {
    const struct timespec moment = {.tv_nsec = (long)PASSED_NS};
    /* The kernel handles a packet from the interface's filters to the end of the stack, or to the next interface's
     * queue, within one RCU read section; this call waits until all that there are have ended. It does so with a
     * promise about memory in mind, and is refused where CPUs are set apart (nohz_full): there time must do. */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0) {
        nanosleep(&moment, NULL);
    }
}

/* --- the queue --- */

static struct nlmsghdr *begin(uint8_t *bytes, uint16_t type, uint16_t queue, uint16_t flags) {
    struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
    message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->nlmsg_seq = 1;
    struct nfgenmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->nfgen_family = AF_UNSPEC;
    info->version = NFNETLINK_V0;
    info->res_id = htons(queue);
    return message;
}

/* Before any packet can be in it: all that is received is the answer. -EPERM: somebody has this queue, or we lack the
 * right to any. */
static int queue_bind(int fd, uint16_t queue) {
    _Alignas(8) uint8_t bytes[512];
    const struct nfqnl_msg_config_cmd bind = {.command = NFQNL_CFG_CMD_BIND};
    const struct nfqnl_msg_config_params params = {.copy_mode = NFQNL_COPY_META};
    const uint32_t flags = NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN; /* as they are; and what does not fit passes */
    struct nlmsghdr *message = begin(bytes, NFQNL_MSG_CONFIG, queue, NLM_F_ACK);
    mnl_attr_put(message, NFQA_CFG_CMD, sizeof bind, &bind);
    mnl_attr_put(message, NFQA_CFG_PARAMS, sizeof params, &params);
    mnl_attr_put_u32(message, NFQA_CFG_QUEUE_MAXLEN, htonl(HELD_MOST));
    mnl_attr_put_u32(message, NFQA_CFG_MASK, htonl(flags));
    mnl_attr_put_u32(message, NFQA_CFG_FLAGS, htonl(flags));
    if (send(fd, message, message->nlmsg_len, 0) < 0) {
        return -errno;
    }
    ssize_t size = recv(fd, bytes, sizeof bytes, 0);
    if (size < 0) {
        return -errno;
    }
    return mnl_cb_run(bytes, (size_t)size, 1, 0, NULL, NULL) < 0 ? -errno : 0;
}

static int queue_open(struct hold *hold) {
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    const int room = (int)(HELD_MOST * MESSAGE_ROOM);
    hold->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (hold->fd < 0 || bind(hold->fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        setsockopt(hold->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0) {
        return errno == EPROTONOSUPPORT ? -EOPNOTSUPP : -errno;
    }
    int rc = -EPERM;
    for (uint16_t i = 0; i < QUEUES && rc == -EPERM; i++) {
        hold->queue = (uint16_t)(FIRST_QUEUE + i);
        rc = queue_bind(hold->fd, hold->queue);
    }
    return rc == -EINVAL ? -EOPNOTSUPP : rc; /* nfnetlink's answer for a subsystem it does not have */
}

/* All that is in it goes on before this returns. */
static void queue_release(const struct hold *hold) {
    _Alignas(8) uint8_t bytes[64];
    const struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(NF_ACCEPT), .id = htonl(LAST_PACKET)};
    struct nlmsghdr *message = begin(bytes, NFQNL_MSG_VERDICT_BATCH, hold->queue, 0);
    mnl_attr_put(message, NFQA_VERDICT_HDR, sizeof verdict, &verdict);
    (void)!send(hold->fd, message, message->nlmsg_len, 0); /* it is small, and the kernel takes it at once */
}

/* --- the whole --- */

static void hold_free(struct hold *hold) {
    if (hold->nft) {
        nft_ctx_free(hold->nft);
    }
    if (hold->fd >= 0) {
        close(hold->fd);
    }
    free(hold);
}

int hold_begin(const char *interface_name, struct hold **ret_hold) {
    char command[COMMAND_SIZE];
    if (!fence_can_name(interface_name)) {
        return -EINVAL;
    }
    struct hold *hold = calloc(1, sizeof *hold);
    if (!hold) {
        return -ENOMEM;
    }
    hold->fd = -1;
    snprintf(hold->interface_name, sizeof hold->interface_name, "%s", interface_name);
    int rc = queue_open(hold);
    if (rc < 0) {
        goto fail;
    }
    hold->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!hold->nft || nft_ctx_buffer_output(hold->nft) || nft_ctx_buffer_error(hold->nft)) {
        rc = -ENOMEM;
        goto fail;
    }
    snprintf(command, sizeof command, table_text, hold->interface_name, hold->interface_name, hold->queue);
    if (nft_run_cmd_from_buffer(hold->nft, command) != 0) {
        rc = -EIO;
        goto fail;
    }
    hold_until_passed(); /* who had passed the rule's place before it was there is through the interface */
    *ret_hold = hold;
    return 0;

fail:
    hold_free(hold);
    return rc;
}

/* The rule goes alone first. Its chain goes last, with the table: with any chain the kernel throws away what is in
 * queues at that moment. Between them nobody may still be on the way into the queue. */
void hold_end(struct hold *hold) {
    char command[COMMAND_SIZE];
    if (!hold) {
        return;
    }
    snprintf(command, sizeof command, flush_text, hold->interface_name);
    (void)nft_run_cmd_from_buffer(hold->nft, command);
    queue_release(hold);
    hold_until_passed();
    queue_release(hold);
    hold_free(hold);
}
