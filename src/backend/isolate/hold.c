#include "backend/isolate/hold.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/membarrier.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netfilter_ipv4.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "backend/host/fence.h"
#include "backend/host/nft.h"
#include "backend/host/rule.h"
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

#define CHAIN "postrouting"

struct hold {
    struct nft *nft; /* the table goes with it */
    int fd;          /* of the queue */
    uint16_t queue;
    char interface_name[16];
    char table[40];
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

/* --- the rule --- */

/* Where it stands among other chains does not matter, but addresses have been translated: what was held does not find
 * another way afterwards. */
static int table_make(const struct hold *hold) {
    struct rule rule;
    nft_begin(hold->nft);
    struct nlmsghdr *message = nft_add(hold->nft, NFT_MSG_NEWTABLE, NFPROTO_INET, NLM_F_CREATE | NLM_F_EXCL);
    mnl_attr_put_strz(message, NFTA_TABLE_NAME, hold->table);
    mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, htonl(NFT_TABLE_F_OWNER));
    message = nft_add(hold->nft, NFT_MSG_NEWCHAIN, NFPROTO_INET, NLM_F_CREATE);
    mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, hold->table);
    mnl_attr_put_strz(message, NFTA_CHAIN_NAME, CHAIN);
    struct nlattr *hook = nft_nest(message, NFTA_CHAIN_HOOK);
    mnl_attr_put_u32(message, NFTA_HOOK_HOOKNUM, htonl(NF_INET_POST_ROUTING));
    mnl_attr_put_u32(message, NFTA_HOOK_PRIORITY, htonl(NF_IP_PRI_NAT_SRC + 10));
    mnl_attr_nest_end(message, hook);
    mnl_attr_put_strz(message, NFTA_CHAIN_TYPE, "filter");
    rule_begin(hold->nft, &rule, hold->table, CHAIN, NULL);
    rule_meta(&rule, NFT_META_OIFNAME);
    rule_is_name(&rule, hold->interface_name);
    rule_queue(&rule, hold->queue);
    rule_end(&rule);
    return nft_commit(hold->nft);
}

static void rule_take_out(const struct hold *hold) {
    nft_begin(hold->nft);
    struct nlmsghdr *message = nft_add(hold->nft, NFT_MSG_DELRULE, NFPROTO_INET, 0);
    mnl_attr_put_strz(message, NFTA_RULE_TABLE, hold->table);
    mnl_attr_put_strz(message, NFTA_RULE_CHAIN, CHAIN);
    (void)nft_commit(hold->nft);
}

/* --- the whole --- */

static void hold_free(struct hold *hold) {
    nft_close(hold->nft);
    if (hold->fd >= 0) {
        close(hold->fd);
    }
    free(hold);
}

int hold_begin(const char *interface_name, struct hold **ret_hold) {
    if (!fence_can_name(interface_name)) {
        return -EINVAL;
    }
    struct hold *hold = calloc(1, sizeof *hold);
    if (!hold) {
        return -ENOMEM;
    }
    hold->fd = -1;
    snprintf(hold->interface_name, sizeof hold->interface_name, "%s", interface_name);
    snprintf(hold->table, sizeof hold->table, "sallyport_%s_hold", interface_name);
    int rc = queue_open(hold);
    rc = rc < 0 ? rc : nft_open(&hold->nft);
    rc = rc < 0 ? rc : table_make(hold);
    if (rc < 0) {
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
    if (!hold) {
        return;
    }
    rule_take_out(hold);
    queue_release(hold);
    hold_until_passed();
    queue_release(hold);
    hold_free(hold);
}
