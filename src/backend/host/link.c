#include "backend/host/link.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/attributes.h"
#include "base/array.h"

/* Also the most a message of ours has: an address or a route is some 60 bytes. */
#define MESSAGE_SIZE 512
#define DUMP_SIZE (32 * 1024)
#define DUMP_ATTEMPTS 16

struct link {
    struct mnl_socket *netlink; /* owned */
    uint32_t index;
    uint32_t sequence;
    char message[MESSAGE_SIZE];
    char dump[DUMP_SIZE];
};

static int connect_netlink(struct link *l) {
    l->netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!l->netlink || mnl_socket_bind(l->netlink, 0, MNL_SOCKET_AUTOPID) < 0) {
        return -errno;
    }
    /* Linux 4.20: dumps of routes come filtered. Older kernels send all, and we look at each. */
    (void)setsockopt(mnl_socket_get_fd(l->netlink), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &(int){1}, sizeof(int));
    return 0;
}

/* A socket alone, or one for an interface that is there. */
static int open_for(const char *interface_name, struct link **ret_link) {
    int rc = -ENODEV;
    struct link *l = calloc(1, sizeof *l);
    if (!l) {
        return -ENOMEM;
    }
    l->index = interface_name ? if_nametoindex(interface_name) : 0;
    if (interface_name && !l->index) {
        goto fail;
    }
    rc = connect_netlink(l);
    if (rc < 0) {
        goto fail;
    }
    *ret_link = l;
    return 0;
fail:
    link_free(l);
    return rc;
}

int link_open(const char *interface_name, struct link **ret_link) {
    return open_for(interface_name, ret_link);
}

void link_free(struct link *link) {
    if (!link) {
        return;
    }
    if (link->netlink) {
        mnl_socket_close(link->netlink);
    }
    free(link);
}

/* --- exchange --- */

static struct nlmsghdr *begin(struct link *l, uint16_t type, uint16_t flags) {
    struct nlmsghdr *message = mnl_nlmsg_put_header(l->message);
    message->nlmsg_type = type;
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->nlmsg_seq = ++l->sequence;
    return message;
}

/* Sends, and hands every part of the answer to `fn` (NULL: only the outcome counts). */
static int exchange(struct link *l, const struct nlmsghdr *message, mnl_cb_t fn, void *context) {
    unsigned port = mnl_socket_get_portid(l->netlink);
    int rc = MNL_CB_OK;
    if (mnl_socket_sendto(l->netlink, message, message->nlmsg_len) < 0) {
        return -errno;
    }
    while (rc > MNL_CB_STOP) {
        ssize_t size = mnl_socket_recvfrom(l->netlink, l->dump, sizeof l->dump);
        if (size < 0) {
            return -errno;
        }
        rc = mnl_cb_run(l->dump, (size_t)size, l->sequence, port, fn, context);
    }
    return rc < 0 ? -errno : 0;
}

/* --- the interface --- */

static void copy_text(const struct nlattr *attribute, char *to, size_t size) {
    snprintf(to, size, "%s", attribute_text(attribute));
}

static int take_kind(const struct nlattr *attribute, void *context) {
    struct link_state *state = context;
    if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND) {
        copy_text(attribute, state->kind, sizeof state->kind);
    }
    return MNL_CB_OK;
}

static int take_state(const struct nlmsghdr *message, void *context) {
    struct link_state *state = context;
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    struct attributes attributes = attributes_of(message, sizeof *info);
    state->up = info->ifi_flags & IFF_UP;
    state->index = (unsigned)info->ifi_index;
    copy_text(attributes.of[IFLA_IFALIAS], state->alias, sizeof state->alias);
    if (attributes.of[IFLA_LINKINFO]) {
        mnl_attr_parse_nested(attributes.of[IFLA_LINKINFO], take_kind, state);
    }
    if (attribute_is_u32(attributes.of[IFLA_MTU])) {
        state->mtu = mnl_attr_get_u32(attributes.of[IFLA_MTU]);
    }
    if (attributes.of[IFLA_STATS64] &&
        mnl_attr_get_payload_len(attributes.of[IFLA_STATS64]) >= offsetof(struct rtnl_link_stats64, rx_bytes)) {
        const uint8_t *stats = mnl_attr_get_payload(attributes.of[IFLA_STATS64]); /* aligned to 4 bytes only */
        memcpy(&state->packets_received, stats + offsetof(struct rtnl_link_stats64, rx_packets), sizeof(uint64_t));
        memcpy(&state->packets_sent, stats + offsetof(struct rtnl_link_stats64, tx_packets), sizeof(uint64_t));
    }
    return MNL_CB_OK;
}

static struct nlmsghdr *begin_link(struct link *l, uint16_t type, unsigned flags, unsigned change) {
    struct nlmsghdr *message = begin(l, type, NLM_F_ACK);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->ifi_family = AF_UNSPEC;
    info->ifi_index = (int)l->index;
    info->ifi_flags = flags;
    info->ifi_change = change;
    return message;
}

int link_get(struct link *link, struct link_state *ret_state) {
    struct link_state state = {0};
    int rc = exchange(link, begin_link(link, RTM_GETLINK, 0, 0), take_state, &state);
    if (rc == 0) {
        *ret_state = state;
    }
    return rc;
}

int link_look(const char *interface_name, struct link_state *ret_state) {
    struct link *link = NULL;
    int rc = open_for(interface_name, &link);
    rc = rc < 0 ? rc : link_get(link, ret_state);
    link_free(link);
    return rc;
}

struct ingress {
    uint32_t index;
    char kind[LINK_KIND_SIZE];
};

static int take_qdisc(const struct nlmsghdr *message, void *context) {
    struct ingress *ingress = context;
    const struct tcmsg *info = mnl_nlmsg_get_payload(message);
    if ((uint32_t)info->tcm_ifindex == ingress->index && info->tcm_parent == TC_H_INGRESS) {
        struct attributes attributes = attributes_of(message, sizeof *info);
        copy_text(attributes.of[TCA_KIND], ingress->kind, sizeof ingress->kind);
    }
    return MNL_CB_OK;
}

int link_ingress_kind(struct link *link, char ret_kind[LINK_KIND_SIZE]) {
    struct ingress ingress = {.index = link->index};
    struct nlmsghdr *message = begin(link, RTM_GETQDISC, NLM_F_DUMP);
    struct tcmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->tcm_ifindex = (int)link->index;
    int rc = exchange(link, message, take_qdisc, &ingress);
    if (rc == 0) {
        memcpy(ret_kind, ingress.kind, sizeof ingress.kind);
    }
    return rc;
}

int link_set_up(struct link *link) {
    return exchange(link, begin_link(link, RTM_NEWLINK, IFF_UP, IFF_UP), NULL, NULL);
}

int link_set_mtu(struct link *link, unsigned mtu) {
    struct nlmsghdr *message = begin_link(link, RTM_NEWLINK, 0, 0);
    mnl_attr_put_u32(message, IFLA_MTU, mtu);
    return exchange(link, message, NULL, NULL);
}

int link_set_alias(struct link *link, const char *alias) {
    struct nlmsghdr *message = begin_link(link, RTM_NEWLINK, 0, 0);
    mnl_attr_put_str(message, IFLA_IFALIAS, alias);
    return exchange(link, message, NULL, NULL);
}

int link_create(const char *interface_name, const char *kind) {
    struct link *l = NULL;
    int rc = open_for(NULL, &l);
    if (!l) {
        return rc;
    }
    struct nlmsghdr *message = begin_link(l, RTM_NEWLINK, 0, 0);
    message->nlmsg_flags |= NLM_F_CREATE | NLM_F_EXCL;
    mnl_attr_put_str(message, IFLA_IFNAME, interface_name);
    struct nlattr *nest = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_str(message, IFLA_INFO_KIND, kind);
    mnl_attr_nest_end(message, nest);
    rc = exchange(l, message, NULL, NULL);
    link_free(l);
    return rc;
}

int link_delete(const char *interface_name) {
    struct link *l = NULL;
    int rc = open_for(interface_name, &l);
    if (l) {
        rc = exchange(l, begin_link(l, RTM_DELLINK, 0, 0), NULL, NULL);
    }
    link_free(l);
    return rc == -ENODEV ? 0 : rc;
}

/* --- prefixes, of addresses and routes --- */

struct walk {
    uint32_t index;
    link_prefix_fn *fn;
    link_route_fn *route_fn;
    backend_host_fn *host_fn;
    size_t routes; /* read, of others */
    void *context;
    int rc; /* what fn said */
};

/* Fills a prefix from an attribute; false if the attribute does not fit the family. */
static bool prefix_from(const struct nlattr *attribute, uint8_t family, uint8_t length, struct prefix *ret_prefix) {
    struct prefix prefix = {.addr.family = family, .length = length};
    size_t size = ip_bits(&prefix.addr) / 8u;
    if (!size || mnl_attr_get_payload_len(attribute) != size || length > size * 8) {
        return false;
    }
    memcpy(prefix.addr.bytes, mnl_attr_get_payload(attribute), size);
    *ret_prefix = prefix;
    return true;
}

static int hand_on(struct walk *walk, const struct prefix *prefix) {
    /* The rest of the dump is still read: the socket must be empty for the next request. */
    if (walk->rc == 0) {
        walk->rc = walk->fn(walk->context, prefix);
    }
    return MNL_CB_OK;
}

static int take_address(const struct nlmsghdr *message, void *context) {
    struct walk *walk = context;
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
    struct prefix prefix;
    if (info->ifa_index != walk->index || (info->ifa_family == AF_INET6 && info->ifa_scope == RT_SCOPE_LINK)) {
        return MNL_CB_OK;
    }
    struct attributes attributes = attributes_of(message, sizeof *info);
    /* On a point-to-point link IFA_ADDRESS may be the other end's; IPv6 without such an end has no IFA_LOCAL. */
    const struct nlattr *own = attributes.of[attributes.of[IFA_LOCAL] ? IFA_LOCAL : IFA_ADDRESS];
    if (!own || !prefix_from(own, info->ifa_family, info->ifa_prefixlen, &prefix)) {
        return MNL_CB_OK;
    }
    return hand_on(walk, &prefix);
}

struct collected {
    struct prefix *list; /* owned */
    size_t count, room;
};

static int collect_prefix(void *context, const struct prefix *prefix) {
    struct collected *collected = context;
    struct prefix *grown = array_grow(collected->list, &collected->room, collected->count + 1, sizeof *grown);
    if (!grown) {
        return -ENOMEM;
    }
    collected->list = grown;
    collected->list[collected->count++] = *prefix;
    return 0;
}

static int dump_addresses(struct link *link, struct collected *collected) {
    struct walk walk = {.index = link->index, .fn = collect_prefix, .context = collected};
    struct nlmsghdr *message = begin(link, RTM_GETADDR, NLM_F_DUMP);
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->ifa_family = AF_UNSPEC;
    int rc = exchange(link, message, take_address, &walk);
    return rc < 0 ? rc : walk.rc;
}

/* Where interfaces come and go, as with containers, a dump may be of no single moment: it is asked for again, by a
 * socket in which nothing of the last one is left. */
int link_each_address(struct link *link, link_prefix_fn *fn, void *context) {
    struct collected collected = {0};
    int rc = dump_addresses(link, &collected);
    for (unsigned attempt = 1; rc == -EINTR && attempt < DUMP_ATTEMPTS; attempt++) {
        collected.count = 0;
        mnl_socket_close(link->netlink);
        rc = connect_netlink(link);
        rc = rc < 0 ? rc : dump_addresses(link, &collected);
    }
    for (size_t i = 0; i < collected.count && rc == 0; i++) {
        rc = fn(context, &collected.list[i]);
    }
    free(collected.list);
    return rc;
}

static int change_address(struct link *l, uint16_t type, uint16_t flags, const struct prefix *address) {
    size_t size = ip_bits(&address->addr) / 8u;
    struct nlmsghdr *message = begin(l, type, (uint16_t)(NLM_F_ACK | flags));
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->ifa_family = address->addr.family;
    info->ifa_prefixlen = address->length;
    info->ifa_index = l->index;
    /* Nobody else can hold an address of a tunnel: it is usable at once. */
    info->ifa_flags = address->addr.family == AF_INET6 ? IFA_F_NODAD : 0;
    mnl_attr_put(message, IFA_LOCAL, size, address->addr.bytes);
    mnl_attr_put(message, IFA_ADDRESS, size, address->addr.bytes);
    return exchange(l, message, NULL, NULL);
}

int link_add_address(struct link *link, const struct prefix *address) {
    int rc = change_address(link, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address);
    return rc == -EEXIST ? 0 : rc;
}

int link_remove_address(struct link *link, const struct prefix *address) {
    int rc = change_address(link, RTM_DELADDR, 0, address);
    return rc == -EADDRNOTAVAIL ? 0 : rc;
}

static int take_route(const struct nlmsghdr *message, void *context) {
    struct walk *walk = context;
    const struct rtmsg *info = mnl_nlmsg_get_payload(message);
    struct prefix prefix = {.addr.family = info->rtm_family};
    if (info->rtm_protocol != LINK_ROUTE_PROTOCOL || info->rtm_type != RTN_UNICAST) {
        return MNL_CB_OK;
    }
    struct attributes attributes = attributes_of(message, sizeof *info);
    const struct nlattr *to = attributes.of[RTA_DST]; /* a default route has none */
    if (!attribute_is_u32(attributes.of[RTA_OIF]) || mnl_attr_get_u32(attributes.of[RTA_OIF]) != walk->index ||
        (to ? !prefix_from(to, info->rtm_family, info->rtm_dst_len, &prefix) : info->rtm_dst_len != 0)) {
        return MNL_CB_OK;
    }
    if (walk->rc == 0) {
        uint32_t table =
            attribute_is_u32(attributes.of[RTA_TABLE]) ? mnl_attr_get_u32(attributes.of[RTA_TABLE]) : info->rtm_table;
        walk->rc = walk->route_fn(walk->context, &prefix, table);
    }
    return MNL_CB_OK;
}

int link_each_route(struct link *link, link_route_fn *fn, void *context) {
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct walk walk = {.index = link->index, .route_fn = fn, .context = context};
    int rc = 0;
    for (size_t i = 0; i < sizeof families && rc == 0 && walk.rc == 0; i++) { /* a filtered dump is of one family */
        struct nlmsghdr *message = begin(link, RTM_GETROUTE, NLM_F_DUMP);
        struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
        info->rtm_family = families[i];
        info->rtm_protocol = LINK_ROUTE_PROTOCOL;
        mnl_attr_put_u32(message, RTA_OIF, link->index);
        rc = exchange(link, message, take_route, &walk);
        rc = families[i] == AF_INET6 && (rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT) ? 0 : rc; /* no IPv6 here */
    }
    return rc < 0 ? rc : walk.rc;
}

static int change_route(struct link *l, uint16_t type, uint16_t flags, const struct prefix *prefix, uint32_t table) {
    struct nlmsghdr *message = begin(l, type, (uint16_t)(NLM_F_ACK | flags));
    struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->rtm_family = prefix->addr.family;
    info->rtm_dst_len = prefix->length;
    info->rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
    info->rtm_protocol = LINK_ROUTE_PROTOCOL;
    info->rtm_scope = prefix->addr.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    info->rtm_type = RTN_UNICAST;
    mnl_attr_put(message, RTA_DST, ip_bits(&prefix->addr) / 8u, prefix->addr.bytes);
    mnl_attr_put_u32(message, RTA_OIF, l->index);
    mnl_attr_put_u32(message, RTA_TABLE, table);
    return exchange(l, message, NULL, NULL);
}

int link_add_route(struct link *link, const struct prefix *prefix) {
    return change_route(link, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, prefix, LINK_ROUTE_TABLE);
}

int link_remove_route(struct link *link, const struct prefix *prefix, uint32_t table) {
    int rc = change_route(link, RTM_DELROUTE, 0, prefix, table);
    return rc == -ESRCH ? 0 : rc;
}

/* --- rules --- */

/* The main table but for its default routes: a match of length 0 is passed over. */
static int add_rule(struct link *l, uint8_t family, uint32_t priority, uint32_t table, bool without_default) {
    struct nlmsghdr *message = begin(l, RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(message, sizeof *rule);
    rule->family = family;
    rule->action = FR_ACT_TO_TBL;
    rule->table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
    mnl_attr_put_u32(message, FRA_TABLE, table);
    mnl_attr_put_u32(message, FRA_PRIORITY, priority);
    mnl_attr_put_u8(message, FRA_PROTOCOL, LINK_ROUTE_PROTOCOL);
    if (without_default) {
        mnl_attr_put_u32(message, FRA_SUPPRESS_PREFIXLEN, 0);
    }
    int rc = exchange(l, message, NULL, NULL);
    return rc == -EEXIST ? 0 : rc;
}

int link_set_rules(struct link *link, uint8_t family) {
    int rc = add_rule(link, family, LINK_RULE_PRIORITY, RT_TABLE_MAIN, true);
    return rc < 0 ? rc : add_rule(link, family, LINK_RULE_PRIORITY + 1, LINK_ROUTE_TABLE, false);
}

/* --- what else the host has --- */

static int take_host_address(const struct nlmsghdr *message, void *context) {
    struct walk *walk = context;
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
    struct prefix prefix;
    struct attributes attributes = attributes_of(message, sizeof *info);
    const struct nlattr *own = attributes.of[attributes.of[IFA_LOCAL] ? IFA_LOCAL : IFA_ADDRESS];
    if (info->ifa_index != walk->index && walk->rc == 0 && own &&
        prefix_from(own, info->ifa_family, info->ifa_prefixlen, &prefix)) {
        walk->rc = walk->host_fn(walk->context, BACKEND_HOST_ADDRESS, &prefix.addr);
    }
    return MNL_CB_OK;
}

static int take_next_hop(const struct nlmsghdr *message, void *context) {
    struct walk *walk = context;
    const struct rtmsg *info = mnl_nlmsg_get_payload(message);
    struct prefix prefix;
    if (walk->rc != 0 || ++walk->routes > LINK_HOST_ROUTES_MAX) {
        return MNL_CB_STOP; /* the socket is not used again */
    }
    struct attributes attributes = attributes_of(message, sizeof *info);
    const struct nlattr *gateway = attributes.of[RTA_GATEWAY];
    if (gateway && info->rtm_type == RTN_UNICAST &&
        prefix_from(gateway, info->rtm_family, info->rtm_family == AF_INET ? 32 : 128, &prefix)) {
        walk->rc = walk->host_fn(walk->context, BACKEND_HOST_NEXT_HOP, &prefix.addr);
    }
    return MNL_CB_OK;
}

int link_each_host_fact(const char *interface_name, backend_host_fn *fn, void *context) {
    struct walk walk = {.index = if_nametoindex(interface_name), .host_fn = fn, .context = context};
    struct link *l = NULL;
    int rc = open_for(NULL, &l);
    if (rc < 0) {
        return rc;
    }
    struct nlmsghdr *message = begin(l, RTM_GETADDR, NLM_F_DUMP);
    struct ifaddrmsg *address = mnl_nlmsg_put_extra_header(message, sizeof *address);
    address->ifa_family = AF_UNSPEC;
    rc = exchange(l, message, take_host_address, &walk);
    if (rc == 0 && walk.rc == 0) {
        message = begin(l, RTM_GETROUTE, NLM_F_DUMP);
        struct rtmsg *route = mnl_nlmsg_put_extra_header(message, sizeof *route);
        route->rtm_family = AF_UNSPEC;
        rc = exchange(l, message, take_next_hop, &walk);
    }
    link_free(l);
    return rc < 0 ? rc : walk.rc;
}
