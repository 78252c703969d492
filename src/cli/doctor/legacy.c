/* The entries of iptables-legacy's filter table. */
/* libc's addresses go first: the kernel's header then leaves them out */
#include <netinet/in.h>

#include <linux/netfilter_ipv4/ip_tables.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/doctor/firewall.h"

#define ENTRIES_MAX (64u << 20)

static bool is_in_use(void) {
    char name[64];
    bool found = false;
    FILE *file = fopen("/proc/net/ip_tables_names", "re");
    while (file && !found && fgets(name, sizeof name, file)) {
        found = strcmp(name, "filter\n") == 0;
    }
    if (file) {
        fclose(file);
    }
    return found;
}

int doctor_legacy_read(struct doctor_legacy **ret_legacy) {
    struct ipt_getinfo info = {.name = "filter"};
    struct ipt_get_entries *got = NULL;
    struct doctor_legacy *legacy = NULL;
    socklen_t size = sizeof info;
    int error = 0;
    /* Asking for the table would make it: only if somebody has done that already. */
    if (!is_in_use()) {
        return -ENOENT;
    }
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd < 0) {
        return -errno;
    }
    if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_INFO, &info, &size) < 0) {
        error = errno == ENOPROTOOPT ? -ENOENT : -errno;
        goto end;
    }
    size = (socklen_t)(sizeof *got + info.size);
    got = info.size <= ENTRIES_MAX ? calloc(1, size) : NULL;
    legacy = got ? malloc(sizeof *legacy + info.size) : NULL;
    if (!legacy) {
        error = -ENOMEM;
        goto end;
    }
    memcpy(got->name, info.name, sizeof got->name);
    got->size = info.size;
    if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, got, &size) < 0) {
        error = -errno; /* -EAGAIN: it changed between the two */
        goto end;
    }
    *legacy = (struct doctor_legacy){
        .input = info.hook_entry[NF_INET_LOCAL_IN],
        .forward = info.hook_entry[NF_INET_FORWARD],
        .input_policy = info.underflow[NF_INET_LOCAL_IN],
        .forward_policy = info.underflow[NF_INET_FORWARD],
        .size = info.size,
    };
    memcpy(legacy->entries, got->entrytable, info.size);
    *ret_legacy = legacy;
    legacy = NULL;
end:
    free(legacy);
    free(got);
    close(fd);
    return error;
}

/* The entry at an offset if it lies wholly within, and its parts within it. */
static const struct ipt_entry *entry_at(const struct doctor_legacy *l, uint32_t at) {
    const struct ipt_entry *entry = (const void *)(l->entries + at);
    if (at > l->size || l->size - at < sizeof *entry || entry->next_offset > l->size - at ||
        entry->target_offset < sizeof *entry ||
        entry->target_offset + sizeof(struct xt_standard_target) > entry->next_offset) {
        return NULL;
    }
    return entry;
}

enum verdict {
    VERDICT_OTHER,
    VERDICT_ACCEPT,
    VERDICT_DROP,
};

static enum verdict verdict_of(const struct ipt_entry *entry) {
    const struct xt_entry_target *target = (const void *)((const char *)entry + entry->target_offset);
    if (strncmp(target->u.user.name, "REJECT", sizeof target->u.user.name) == 0) {
        return VERDICT_DROP;
    }
    if (target->u.user.name[0]) {
        return VERDICT_OTHER;
    }
    int verdict = ((const struct xt_standard_target *)(const void *)target)->verdict;
    return verdict == -NF_ACCEPT - 1 ? VERDICT_ACCEPT : verdict == -NF_DROP - 1 ? VERDICT_DROP : VERDICT_OTHER;
}

enum meaning {
    MEANS_THEM,
    MEANS_OTHERS,
    MEANS_MAYBE,
};

static enum meaning match_of_port(const struct xt_entry_match *match, size_t size, uint16_t port) {
    const struct xt_udp *udp = (const void *)match->data;
    if (strcmp(match->u.user.name, "udp") != 0 || size < sizeof *match + sizeof *udp) {
        return strcmp(match->u.user.name, "state") == 0 || strcmp(match->u.user.name, "conntrack") == 0 ? MEANS_OTHERS
                                                                                                        : MEANS_MAYBE;
    }
    bool inside = udp->dpts[0] <= port && port <= udp->dpts[1];
    return inside != !!(udp->invflags & XT_UDP_INV_DSTPT) ? MEANS_THEM : MEANS_OTHERS;
}

/* All its matches together; `port` 0: none is looked at. */
static enum meaning matches_of(const struct ipt_entry *entry, uint16_t port) {
    enum meaning meaning = MEANS_THEM;
    for (size_t at = sizeof *entry; at + sizeof(struct xt_entry_match) <= entry->target_offset;) {
        const struct xt_entry_match *match = (const void *)((const char *)entry + at);
        size_t size = match->u.match_size;
        if (size < sizeof *match || size > entry->target_offset - at) {
            return MEANS_MAYBE;
        }
        enum meaning one = port ? match_of_port(match, size, port) : MEANS_MAYBE;
        meaning = one == MEANS_THEM ? meaning : one == MEANS_OTHERS || meaning == MEANS_OTHERS ? MEANS_OTHERS : one;
        at += size;
    }
    return meaning;
}

static bool is_any(const struct ipt_ip *ip) {
    const struct ipt_ip any = {0};
    return ip->src.s_addr == any.src.s_addr && ip->smsk.s_addr == 0 && ip->dmsk.s_addr == 0;
}

static enum meaning input_of(const struct ipt_entry *entry, uint16_t port) {
    const struct ipt_ip *ip = &entry->ip;
    if ((ip->proto && ip->proto != IPPROTO_UDP) || strcmp(ip->iniface, "lo") == 0) {
        return MEANS_OTHERS;
    }
    enum meaning meaning = matches_of(entry, port);
    return meaning == MEANS_THEM && (!is_any(ip) || ip->iniface[0] || ip->invflags) ? MEANS_MAYBE : meaning;
}

static bool interface_is(const char *pattern, const unsigned char *mask, const char *name) {
    for (size_t i = 0; i < IFNAMSIZ && mask[i]; i++) {
        if (pattern[i] != name[i]) {
            return false;
        }
        if (!name[i]) {
            return true;
        }
    }
    return true;
}

static enum meaning forward_of(const struct ipt_entry *entry, const char *interface_name, bool outward) {
    const struct ipt_ip *ip = &entry->ip;
    const char *mine = outward ? ip->outiface : ip->iniface, *other = outward ? ip->iniface : ip->outiface;
    const unsigned char *mask = outward ? ip->outiface_mask : ip->iniface_mask;
    if (mine[0] && !interface_is(mine, mask, interface_name)) {
        return MEANS_OTHERS;
    }
    bool narrow = other[0] || !is_any(ip) || ip->proto || ip->invflags || entry->target_offset > sizeof *entry;
    return narrow ? MEANS_MAYBE : MEANS_THEM;
}

/* Entries of chains that are jumped to are taken for the chain's own. */
static enum doctor_passage passage_of(const struct doctor_legacy *l, uint32_t first, uint32_t policy, uint16_t port,
                                      const char *interface_name, bool outward) {
    const struct ipt_entry *last = entry_at(l, policy);
    const struct ipt_ip none = {0};
    bool closed = last && verdict_of(last) == VERDICT_DROP, accepted = false, maybe = false;
    for (uint32_t at = 0; at < l->size;) {
        const struct ipt_entry *entry = entry_at(l, at);
        if (!entry || entry->next_offset == 0) {
            return DOCTOR_UNKNOWN;
        }
        enum meaning meaning = interface_name ? forward_of(entry, interface_name, outward) : input_of(entry, port);
        /* the other chain's rules and the end mark of the table are none that packets here could get to */
        bool other = (at >= l->input && at <= l->input_policy) || (at >= l->forward && at <= l->forward_policy) ||
                     at >= l->size - entry->next_offset;
        bool own = at >= first && at < policy;
        /* chains' own policies, OUTPUT's among them, are plain ACCEPTs without a match: they are no rules */
        bool bare = entry->target_offset == sizeof *entry && memcmp(&entry->ip, &none, sizeof none) == 0;
        enum verdict verdict = (other || bare) && !own ? VERDICT_OTHER : verdict_of(entry);
        if (verdict == VERDICT_ACCEPT) {
            accepted |= meaning == MEANS_THEM;
            maybe |= meaning == MEANS_MAYBE;
        } else if (verdict == VERDICT_DROP && own && meaning == MEANS_THEM && !accepted) {
            closed = true;
        }
        at += entry->next_offset;
    }
    return !closed || accepted ? DOCTOR_OPEN : maybe ? DOCTOR_UNKNOWN : DOCTOR_CLOSED;
}

enum doctor_passage doctor_legacy_input(const struct doctor_legacy *legacy, uint16_t port) {
    return passage_of(legacy, legacy->input, legacy->input_policy, port, NULL, false);
}

enum doctor_passage doctor_legacy_forward(const struct doctor_legacy *legacy, const char *interface_name) {
    enum doctor_passage in = passage_of(legacy, legacy->forward, legacy->forward_policy, 0, interface_name, false);
    enum doctor_passage out = passage_of(legacy, legacy->forward, legacy->forward_policy, 0, interface_name, true);
    return in > out ? in : out;
}
