#include "backend/host/sentinel.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/host/nft.h"

#define TABLE_SIZE 64
#define PIECE_SIZE (32 * 1024)
/* Of all kinds of nftables objects the first attribute is their table's name: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE,
 * NFTA_RULE_TABLE, NFTA_SET_TABLE, ... */
#define TABLE_ATTRIBUTE NFTA_TABLE_NAME

enum source {
    SOURCE_ROUTE,
    SOURCE_NFTABLES,
    SOURCES,
};

struct sentinel {
    char table[TABLE_SIZE];
    int of[SOURCES]; /* -1: none */
    atomic_uint ifindex;
    atomic_bool rung;
};

static int subscribe(int protocol, const unsigned *groups, size_t count, int *ret_fd) {
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    int rc = 0;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        rc = -errno;
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) < 0) {
            rc = -errno;
        }
    }
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

int sentinel_usable(void) {
    struct nft *nft = NULL;
    uint32_t generation;
    int rc = nft_open(&nft);
    rc = rc < 0 ? rc : nft_generation(nft, &generation);
    nft_close(nft);
    return rc;
}

int sentinel_open(const char *fence_table, struct sentinel **ret_sentinel) {
    static const unsigned route_groups[] = {RTNLGRP_LINK, RTNLGRP_TC, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
    static const unsigned nftables_groups[] = {NFNLGRP_NFTABLES};
    struct sentinel *s = calloc(1, sizeof *s);
    if (!s) {
        return -ENOMEM;
    }
    for (int i = 0; i < SOURCES; i++) {
        s->of[i] = -1;
    }
    snprintf(s->table, sizeof s->table, "%s", fence_table);
    int rc = subscribe(NETLINK_ROUTE, route_groups, sizeof route_groups / sizeof *route_groups, &s->of[SOURCE_ROUTE]);
    if (rc == 0) {
        rc = subscribe(NETLINK_NETFILTER, nftables_groups, sizeof nftables_groups / sizeof *nftables_groups,
                       &s->of[SOURCE_NFTABLES]);
    }
    if (rc < 0) {
        goto fail;
    }
    *ret_sentinel = s;
    return 0;
fail:
    sentinel_free(s);
    return rc;
}

void sentinel_free(struct sentinel *sentinel) {
    if (!sentinel) {
        return;
    }
    for (int i = 0; i < SOURCES; i++) {
        if (sentinel->of[i] >= 0) {
            close(sentinel->of[i]);
        }
    }
    free(sentinel);
}

void sentinel_watch(struct sentinel *sentinel, unsigned ifindex) {
    if (sentinel) {
        atomic_store(&sentinel->ifindex, ifindex);
    }
}

void sentinel_ring(struct sentinel *sentinel) {
    atomic_store(&sentinel->rung, true);
}

/* --- what the messages are about --- */

/* ifinfomsg, ifaddrmsg and tcmsg all have the interface's number in their second word. */
static bool is_our_interface(const struct sentinel *s, const struct nlmsghdr *message) {
    uint32_t words[2];
    unsigned ours = atomic_load(&s->ifindex);
    if (mnl_nlmsg_get_payload_len(message) < sizeof words) {
        return false;
    }
    memcpy(words, mnl_nlmsg_get_payload(message), sizeof words);
    return ours && words[1] == ours;
}

static bool is_our_table(const struct sentinel *s, const struct nlmsghdr *message) {
    if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || (message->nlmsg_type & 0xff) == NFT_MSG_NEWGEN) {
        return false;
    }
    struct attributes attributes = nft_attributes_of(message);
    return strcmp(attribute_text(attributes.of[TABLE_ATTRIBUTE]), s->table) == 0;
}

static bool concerns(const struct sentinel *s, enum source source, const uint8_t *bytes, size_t size) {
    const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)bytes;
    int left = (int)size;
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
        switch (source) {
        case SOURCES:
            break;
        case SOURCE_ROUTE:
            if (is_our_interface(s, message)) {
                return true;
            }
            break;
        case SOURCE_NFTABLES:
            if (is_our_table(s, message)) {
                return true;
            }
            break;
        }
    }
    return false;
}

static bool read_all(struct sentinel *s, enum source source) {
    _Alignas(8) uint8_t piece[PIECE_SIZE];
    bool ours = false;
    for (;;) {
        ssize_t size = recv(s->of[source], piece, sizeof piece, MSG_DONTWAIT);
        if (size > 0) {
            ours |= concerns(s, source, piece, (size_t)size);
        } else if (size < 0 && errno == ENOBUFS) {
            ours = true; /* some was lost: netlink(7) */
        } else if (size == 0 || errno != EINTR) {
            return ours;
        }
    }
}

bool sentinel_heed(struct sentinel *sentinel) {
    bool ours = atomic_exchange(&sentinel->rung, false);
    ours |= read_all(sentinel, SOURCE_ROUTE);
    ours |= read_all(sentinel, SOURCE_NFTABLES);
    return ours;
}

void sentinel_settle(struct sentinel *sentinel) {
    (void)sentinel_heed(sentinel);
}
