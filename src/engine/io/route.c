#include "engine/io/route.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/table/bucket.h"

#define REMEMBERED 64
#define MESSAGE_MAX 4096 /* bytes: one route with its next hops */

/* A question costs some microseconds: a few percent of a core. */
static const struct bucket_rate questions_rate = {.per_s = 5000, .burst = 500};

struct answer {
    struct ip_addr to;
    uint32_t mark;
    enum route_kind kind;
    unsigned interface;
    uint64_t until_ns; /* 0: nothing */
};

struct route {
    struct mnl_socket *netlink;
    unsigned sequence;
    struct bucket questions;
    struct answer answers[REMEMBERED];
};

int route_open(struct route **ret_route) {
    struct route *route = calloc(1, sizeof *route);
    if (!route) {
        return -ENOMEM;
    }
    route->netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!route->netlink || mnl_socket_bind(route->netlink, 0, MNL_SOCKET_AUTOPID) < 0) {
        int error = -errno;
        route_close(route);
        return error;
    }
    *ret_route = route;
    return 0;
}

void route_close(struct route *route) {
    if (!route) {
        return;
    }
    if (route->netlink) {
        mnl_socket_close(route->netlink);
    }
    free(route);
}

static int parse_attribute(const struct nlattr *attribute, void *context) {
    struct answer *answer = context;
    if (mnl_attr_get_type(attribute) == RTA_OIF && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0) {
        answer->interface = mnl_attr_get_u32(attribute);
    }
    return MNL_CB_OK;
}

static int parse_route(const struct nlmsghdr *message, void *context) {
    struct answer *answer = context;
    if (message->nlmsg_type != RTM_NEWROUTE) {
        return MNL_CB_OK;
    }
    const struct rtmsg *route = mnl_nlmsg_get_payload(message);
    answer->kind = route->rtm_type == RTN_LOCAL     ? ROUTE_LOCAL
                   : route->rtm_type == RTN_UNICAST ? ROUTE_AWAY
                                                    : ROUTE_NONE;
    mnl_attr_parse(message, sizeof *route, parse_attribute, answer);
    if (answer->kind != ROUTE_AWAY) {
        answer->interface = 0;
    }
    return MNL_CB_STOP;
}

/* The kernel has answered when the question is sent. */
static void ask_kernel(struct route *route, struct answer *answer) {
    _Alignas(struct nlmsghdr) uint8_t buffer[MESSAGE_MAX];
    size_t length = answer->to.family == AF_INET6 ? 16 : 4;
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = RTM_GETROUTE;
    request->nlmsg_flags = NLM_F_REQUEST;
    request->nlmsg_seq = ++route->sequence;
    struct rtmsg *body = mnl_nlmsg_put_extra_header(request, sizeof *body);
    body->rtm_family = answer->to.family;
    body->rtm_dst_len = (uint8_t)(length * 8);
    mnl_attr_put(request, RTA_DST, length, answer->to.bytes);
    if (answer->mark) {
        mnl_attr_put_u32(request, RTA_MARK, answer->mark);
    }
    if (mnl_socket_sendto(route->netlink, request, request->nlmsg_len) < 0) {
        return;
    }
    ssize_t size;
    while ((size = mnl_socket_recvfrom(route->netlink, buffer, sizeof buffer)) >= 0) {
        int more = mnl_cb_run(buffer, (size_t)size, route->sequence, mnl_socket_get_portid(route->netlink), parse_route,
                              answer);
        if (more < 0 && (errno == ENETUNREACH || errno == EHOSTUNREACH)) {
            answer->kind = ROUTE_NONE;
        }
        if (more >= 0 || errno != EPROTO) { /* EPROTO: the answer to an earlier question */
            return;
        }
    }
}

/* Where an answer about this address is remembered, or would be. */
static struct answer *place_of(struct route *route, const struct ip_addr *to, uint32_t mark) {
    uint32_t hash = mark ^ to->family;
    for (size_t i = 0; i < sizeof to->bytes; i++) {
        hash = (hash ^ to->bytes[i]) * UINT32_C(0x01000193); /* FNV-1a */
    }
    return &route->answers[(hash ^ hash >> 16) % REMEMBERED];
}

enum route_kind route_ask(struct route *route, const struct ip_addr *to, uint32_t mark, uint64_t now_ns,
                          unsigned *ret_interface) {
    struct answer *answer = place_of(route, to, mark);
    if (now_ns >= answer->until_ns || answer->mark != mark || !ip_equal(&answer->to, to)) {
        if (!bucket_take(&route->questions, &questions_rate, now_ns, 1)) {
            *ret_interface = 0;
            return ROUTE_UNKNOWN;
        }
        *answer = (struct answer){.to = *to, .mark = mark, .until_ns = now_ns + NSEC_PER_SEC};
        ask_kernel(route, answer);
    }
    *ret_interface = answer->interface;
    return answer->kind;
}
