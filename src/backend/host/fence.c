#include "backend/host/fence.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host/nft.h"
#include "backend/host/rule.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "model/prefix.h"
#include "model/problem.h"

/* Shown by `nft list ruleset`, and how a table of ours is known again: never to change. */
#define COMMENT "made by sallyport, which undoes changes"
/* As nft(8) writes it: type 0, size with the NUL, text. */
#define MARK "\0\x28" COMMENT

/* Before connection tracking (-200) and before the first place an operator would pick (raw, -300). */
#define PRIORITY_FIRST (NF_IP_PRI_RAW - 10)

#define ATTEMPTS 8 /* to read the table while others change theirs */

struct fence {
    struct nft *nft;
    char interface_name[IF_NAMESIZE];
    char table[sizeof "sallyport_" + IF_NAMESIZE];
    /* What was asked for last, and how the kernel tells it; both in the words of note(). A kernel that says more than
     * it was told is believed once. */
    struct buf wanted, told;
    bool half_blind;
};

/* Shown with the rules, and how we find those whose packets we count. */
#define FORGED "forged: in the name of the tunnel, from elsewhere"
#define LOOPED "looped: the tunnel's own, inside the tunnel"

_Static_assert(sizeof COMMENT == 0x28, "the size in MARK");

/* Plain words for nft(8) and for a shell; that is what people are told to run. */
bool fence_can_name(const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("_-.", name[i])) {
            return false;
        }
    }
    return length > 0 && length < IF_NAMESIZE;
}

static int report_failure(const struct fence *fence, int error, struct problem *problem) {
    problem_set(problem, PROBLEM_UNAVAILABLE, "no-fence", "",
                "The nftables table inet %s could not be set: %s. sallyportd needs CAP_NET_ADMIN, and a kernel with "
                "CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT and CONFIG_NFT_MASQ.",
                fence->table, error == -EOPNOTSUPP ? "this kernel has no nf_tables" : strerror(-error));
    return error;
}

static int report_foreign(const struct fence *fence, struct problem *problem) {
    return problem_set(
        problem, PROBLEM_CONFLICT, "foreign-table", "",
        "There is a nftables table inet %s that Sallyport did not make. If it is not needed: nft delete table "
        "inet %s; else choose another interface name.",
        fence->table, fence->table);
}

int fence_open(const char *interface_name, struct fence **ret_fence, struct problem *ret_problem) {
    if (!fence_can_name(interface_name)) {
        return problem_set(
            ret_problem, PROBLEM_INVALID, "bad-interface-name", "",
            "'%s' cannot be the interface's name: nftables takes letters, digits, '-', '_' and '.', at most "
            "%d of them.",
            interface_name, IF_NAMESIZE - 1);
    }
    struct fence *fence = calloc(1, sizeof *fence);
    if (!fence) {
        problem_set(ret_problem, PROBLEM_INTERNAL, "out-of-memory", "", "Out of memory.");
        return -ENOMEM;
    }
    snprintf(fence->interface_name, sizeof fence->interface_name, "%s", interface_name);
    snprintf(fence->table, sizeof fence->table, "sallyport_%s", interface_name);
    *ret_fence = fence;
    return 0;
}

void fence_close(struct fence *fence) {
    if (!fence) {
        return;
    }
    nft_close(fence->nft);
    buf_free(&fence->wanted);
    buf_free(&fence->told);
    free(fence);
}

/* A kernel without netfilter may get it later: its module is loaded by whoever asks for it. */
static int connect_nft(struct fence *fence) {
    uint32_t generation;
    if (!fence->nft) {
        int rc = nft_open(&fence->nft);
        if (rc < 0) {
            return rc;
        }
    }
    return nft_generation(fence->nft, &generation);
}

/* --- what should be there --- */

static struct nlmsghdr *add(const struct fence *f, uint16_t type, uint16_t flags) {
    struct nlmsghdr *message = nft_add(f->nft, type, NFPROTO_INET, flags);
    mnl_attr_put_strz(message, NFTA_TABLE_NAME, f->table);
    return message;
}

static void add_chain(const struct fence *f, const char *name, const char *type, uint32_t hook, int32_t priority) {
    struct nlmsghdr *message = nft_add(f->nft, NFT_MSG_NEWCHAIN, NFPROTO_INET, NLM_F_CREATE);
    mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, f->table);
    mnl_attr_put_strz(message, NFTA_CHAIN_NAME, name);
    struct nlattr *nest = nft_nest(message, NFTA_CHAIN_HOOK);
    mnl_attr_put_u32(message, NFTA_HOOK_HOOKNUM, htonl(hook));
    mnl_attr_put_u32(message, NFTA_HOOK_PRIORITY, htonl((uint32_t)priority));
    mnl_attr_nest_end(message, nest);
    mnl_attr_put_u32(message, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
    mnl_attr_put_strz(message, NFTA_CHAIN_TYPE, type);
}

static void begin_rule(const struct fence *f, struct rule *r, const char *chain, const char *comment) {
    rule_begin(f->nft, r, f->table, chain, comment);
}

static void end_rule(struct rule *r, int32_t verdict) {
    rule_verdict(r, verdict);
    rule_end(r);
}

static void end_counted_drop(struct rule *r) {
    rule_count(r);
    end_rule(r, NF_DROP);
}

static void accept_from(const struct fence *f, const char *interface_name) {
    struct rule r;
    begin_rule(f, &r, "prerouting", NULL);
    rule_meta(&r, NFT_META_IIFNAME);
    rule_is_name(&r, interface_name);
    end_rule(&r, NF_ACCEPT);
}

/* A route decides who is behind the interface, not the pool: the host may have a network of its own within it. */
static void drop_forged(const struct fence *f, const struct fence_rules *rules) {
    struct rule r;
    for (size_t i = 0; i < rules->hub_count; i++) {
        const struct prefix hub = {.addr = rules->hub[i].addr, .length = ip_bits(&rules->hub[i].addr)};
        begin_rule(f, &r, "prerouting", FORGED);
        rule_source_in(&r, &hub);
        end_counted_drop(&r);
    }
    if (!f->half_blind) {
        begin_rule(f, &r, "prerouting", FORGED);
        rule_fib_interface_of_source(&r);
        rule_is_name(&r, f->interface_name);
        end_counted_drop(&r);
    }
}

static void add_prerouting(const struct fence *f, const struct fence_rules *rules) {
    struct rule r;
    if (rules->passed) {
        begin_rule(f, &r, "prerouting", NULL);
        rule_meta(&r, NFT_META_IIFNAME);
        rule_is_name(&r, f->interface_name);
        rule_meta(&r, NFT_META_PRIORITY);
        rule_is_not(&r, &rules->passed, sizeof rules->passed);
        end_rule(&r, NF_DROP);
    }
    accept_from(f, f->interface_name);
    accept_from(f, "lo");
    drop_forged(f, rules);
    if (rules->egress && rules->listen_port && !f->half_blind) {
        begin_rule(f, &r, "prerouting", NULL);
        rule_udp_destination(&r, rules->listen_port);
        rule_fib_destination_is_local(&r);
        rule_notrack(&r);
        rule_end(&r);
    }
}

static void add_own_datagrams(const struct fence *f, const struct fence_rules *rules) {
    struct rule r;
    begin_rule(f, &r, "input", LOOPED);
    rule_meta(&r, NFT_META_IIFNAME);
    rule_is_name(&r, f->interface_name);
    rule_udp_destination(&r, rules->listen_port);
    end_counted_drop(&r);
    begin_rule(f, &r, "output", LOOPED);
    rule_meta(&r, NFT_META_OIFNAME);
    rule_is_name(&r, f->interface_name);
    rule_udp_source(&r, rules->listen_port);
    end_counted_drop(&r);
    if (rules->egress && !f->half_blind) {
        begin_rule(f, &r, "output", NULL);
        rule_udp_source(&r, rules->listen_port);
        rule_notrack(&r);
        rule_end(&r);
    }
}

static void add_masquerade(const struct fence *f) {
    struct rule r;
    begin_rule(f, &r, "postrouting", NULL);
    rule_meta(&r, NFT_META_IIFNAME);
    rule_is_name(&r, f->interface_name);
    rule_meta(&r, NFT_META_OIFNAME);
    rule_is_not_name(&r, f->interface_name);
    rule_masquerade(&r);
    rule_end(&r);
}

static void add_table(const struct fence *f, const struct fence_rules *rules) {
    struct nlmsghdr *message = add(f, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    mnl_attr_put(message, NFTA_TABLE_USERDATA, sizeof MARK, MARK);
    add_chain(f, "prerouting", "filter", NF_INET_PRE_ROUTING, PRIORITY_FIRST);
    if (rules->listen_port) {
        add_chain(f, "input", "filter", NF_INET_LOCAL_IN, PRIORITY_FIRST);
        add_chain(f, "output", "filter", NF_INET_LOCAL_OUT, PRIORITY_FIRST);
    }
    if (rules->egress) { /* such a chain has the host track all connections */
        add_chain(f, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
    }
    /* chain after chain, as the kernel tells them */
    add_prerouting(f, rules);
    if (rules->listen_port) {
        add_own_datagrams(f, rules);
    }
    if (rules->egress) {
        add_masquerade(f);
    }
}

/* --- what a message says, whether it is one of ours or the kernel's answer --- */

static bool is_zero(const struct nlattr *attribute) {
    const uint8_t *bytes = mnl_attr_get_payload(attribute);
    for (size_t i = 0; i < mnl_attr_get_payload_len(attribute); i++) {
        if (bytes[i]) {
            return false;
        }
    }
    return true;
}

static void note_attribute(struct buf *to, const struct nlattr *attribute) {
    const uint16_t header[] = {mnl_attr_get_type(attribute), mnl_attr_get_payload_len(attribute)};
    buf_append(to, header, sizeof header);
    buf_append(to, mnl_attr_get_payload(attribute), header[1]);
}

/* Those that are not there mean zero, and are told as zero. */
static void note_all(struct buf *to, const struct attributes *attributes) {
    for (size_t i = 0; i < ATTRIBUTE_TYPES; i++) {
        if (attributes->of[i] && !is_zero(attributes->of[i])) {
            note_attribute(to, attributes->of[i]);
        }
    }
}

static int note_expression(const struct nlattr *element, void *context) {
    struct attributes expression = attributes_in(element);
    const char *name = attribute_text(expression.of[NFTA_EXPR_NAME]);
    buf_append(context, name, strlen(name) + 1);
    if (strcmp(name, "counter") != 0) { /* what was counted is no difference */
        struct attributes data = attributes_in(expression.of[NFTA_EXPR_DATA]);
        note_all(context, &data);
    }
    return MNL_CB_OK;
}

static void note(struct buf *to, const struct nlmsghdr *message) {
    struct attributes attributes = nft_attributes_of(message), some = {0};
    uint16_t type = message->nlmsg_type & 0xff;
    buf_append(to, &type, sizeof type);
    if (type == NFT_MSG_NEWTABLE) {
        some.of[NFTA_TABLE_FLAGS] = attributes.of[NFTA_TABLE_FLAGS];
        some.of[NFTA_TABLE_USERDATA] = attributes.of[NFTA_TABLE_USERDATA];
    } else if (type == NFT_MSG_NEWCHAIN) {
        some.of[NFTA_CHAIN_NAME] = attributes.of[NFTA_CHAIN_NAME];
        some.of[NFTA_CHAIN_POLICY] = attributes.of[NFTA_CHAIN_POLICY];
        some.of[NFTA_CHAIN_TYPE] = attributes.of[NFTA_CHAIN_TYPE];
        struct attributes hook = attributes_in(attributes.of[NFTA_CHAIN_HOOK]);
        note_all(to, &hook);
    } else {
        some.of[NFTA_RULE_CHAIN] = attributes.of[NFTA_RULE_CHAIN];
        some.of[NFTA_RULE_USERDATA] = attributes.of[NFTA_RULE_USERDATA];
    }
    note_all(to, &some);
    if (type == NFT_MSG_NEWRULE && attributes.of[NFTA_RULE_EXPRESSIONS]) {
        mnl_attr_parse_nested(attributes.of[NFTA_RULE_EXPRESSIONS], note_expression, to);
    }
}

/* --- what is there --- */

struct reading {
    const char *table;
    struct buf *to;
    bool ours;
    uint32_t chains, holds; /* that were told; all that the table has: chains, sets, objects */
};

static int take_table(const struct nlmsghdr *message, void *context) {
    struct reading *reading = context;
    struct attributes attributes = nft_attributes_of(message);
    const struct nlattr *data = attributes.of[NFTA_TABLE_USERDATA];
    reading->ours = data && mnl_attr_get_payload_len(data) == sizeof MARK &&
                    memcmp(mnl_attr_get_payload(data), MARK, sizeof MARK) == 0;
    reading->holds = nft_u32(attributes.of[NFTA_TABLE_USE]);
    note(reading->to, message);
    return MNL_CB_OK;
}

static int take_part(const struct nlmsghdr *message, void *context) {
    struct reading *reading = context;
    struct attributes attributes = nft_attributes_of(message);
    _Static_assert((int)NFTA_CHAIN_TABLE == (int)NFTA_RULE_TABLE, "the first attribute of both");
    if (strcmp(attribute_text(attributes.of[NFTA_RULE_TABLE]), reading->table) == 0) {
        reading->chains += (message->nlmsg_type & 0xff) == NFT_MSG_NEWCHAIN;
        note(reading->to, message);
    }
    return MNL_CB_OK;
}

static int ask(const struct fence *f, uint16_t type, bool dump, mnl_cb_t fn, struct reading *reading) {
    struct nlmsghdr *message = nft_question(f->nft, type, NFPROTO_INET, dump);
    mnl_attr_put_strz(message, NFTA_TABLE_NAME, f->table); /* the first attribute of all kinds */
    return nft_ask(f->nft, fn, reading);
}

/* -ENOENT: there is no such table. */
static int read_table(const struct fence *f, struct buf *to, bool *ret_ours) {
    int rc = -EINTR;
    struct reading reading = {.table = f->table, .to = to};
    for (unsigned i = 0; i < ATTEMPTS && rc == -EINTR; i++) {
        reading.chains = 0;
        buf_clear(to);
        rc = ask(f, NFT_MSG_GETTABLE, false, take_table, &reading);
        rc = rc < 0 ? rc : ask(f, NFT_MSG_GETCHAIN, true, take_part, &reading);
        rc = rc < 0 ? rc : ask(f, NFT_MSG_GETRULE, true, take_part, &reading);
    }
    if (rc == 0 && reading.holds != reading.chains) {
        buf_text(to, "more"); /* sets, objects or flow tables, of which we make none */
    }
    rc = rc == 0 && to->failed ? -ENOMEM : rc;
    if (rc == 0) {
        *ret_ours = reading.ours;
    }
    return rc;
}

/* --- the table --- */

static bool same(const struct buf *a, const struct buf *b) {
    return a->size && a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Adding first makes sure that there is one to delete. */
static void begin(const struct fence *f, bool with_former) {
    nft_begin(f->nft);
    if (with_former) {
        add(f, NFT_MSG_NEWTABLE, NLM_F_CREATE);
        add(f, NFT_MSG_DELTABLE, 0);
    }
}

static int want(const struct fence *f, const struct fence_rules *rules, struct buf *ret_wanted) {
    begin(f, false);
    add_table(f, rules);
    for (const struct nlmsghdr *message = NULL; (message = nft_added(f->nft, message));) {
        note(ret_wanted, message);
    }
    return ret_wanted->failed ? -ENOMEM : 0;
}

static int replace(struct fence *f, const struct fence_rules *rules) {
    begin(f, true);
    add_table(f, rules);
    return nft_commit(f->nft);
}

/* Takes over what the kernel tells of the table that was just set. */
static void remember(struct fence *f, struct buf *wanted) {
    bool ours;
    buf_free(&f->wanted);
    f->wanted = *wanted;
    *wanted = (struct buf){0};
    if (read_table(f, &f->told, &ours) < 0) {
        buf_clear(&f->told);
    }
}

static int compare_and_set(struct fence *f, const struct fence_rules *rules, unsigned *touched,
                           struct problem *problem) {
    struct buf wanted = {0}, is = {0};
    bool ours = false;
    int rc = want(f, rules, &wanted);
    rc = rc < 0 ? rc : read_table(f, &is, &ours);
    bool right = rc == 0 && (same(&is, &wanted) || (same(&is, &f->told) && same(&wanted, &f->wanted)));
    if (rc == 0 && !ours) {
        rc = report_foreign(f, problem);
    } else if (rc == -ENOENT || (rc == 0 && !right)) {
        rc = replace(f, rules);
        if (rc == 0) {
            remember(f, &wanted);
            ++*touched;
        } else {
            report_failure(f, rc, problem);
        }
    } else if (rc < 0) {
        report_failure(f, rc, problem);
    }
    buf_free(&wanted);
    buf_free(&is);
    return rc;
}

int fence_set(struct fence *fence, const struct fence_rules *rules, unsigned *ret_touched,
              struct problem *ret_problem) {
    int rc = connect_nft(fence);
    if (rc < 0) {
        return report_failure(fence, rc, ret_problem);
    }
    rc = compare_and_set(fence, rules, ret_touched, ret_problem);
    if (rc == -ENOENT && !fence->half_blind) { /* the kernel's answer for an expression that it does not know */
        fence->half_blind = true;
        rc = compare_and_set(fence, rules, ret_touched, ret_problem);
        fence->half_blind = rc == 0;
    }
    return rc;
}

bool fence_is_half_blind(const struct fence *fence) {
    return fence->half_blind;
}

/* --- what it counted --- */

static int add_count(const struct nlattr *element, void *context) {
    struct attributes expression = attributes_in(element);
    if (strcmp(attribute_text(expression.of[NFTA_EXPR_NAME]), "counter") == 0) {
        struct attributes data = attributes_in(expression.of[NFTA_EXPR_DATA]);
        const struct nlattr *packets = data.of[NFTA_COUNTER_PACKETS];
        if (packets && mnl_attr_get_payload_len(packets) == sizeof(uint64_t)) {
            *(uint64_t *)context += be64_get(mnl_attr_get_payload(packets));
        }
    }
    return MNL_CB_OK;
}

static bool has_comment(const struct attributes *rule, const char *comment) {
    const struct nlattr *data = rule->of[NFTA_RULE_USERDATA];
    size_t size = strlen(comment) + 1;
    return data && mnl_attr_get_payload_len(data) == 2 + size &&
           memcmp((const uint8_t *)mnl_attr_get_payload(data) + 2, comment, size) == 0;
}

static int count_rule(const struct nlmsghdr *message, void *context) {
    struct fence_counts *counts = context;
    struct attributes rule = nft_attributes_of(message);
    uint64_t *to = has_comment(&rule, FORGED) ? &counts->forged : has_comment(&rule, LOOPED) ? &counts->looped : NULL;
    const struct nlattr *expressions = rule.of[NFTA_RULE_EXPRESSIONS];
    return to && expressions ? mnl_attr_parse_nested(expressions, add_count, to) : MNL_CB_OK;
}

int fence_count(struct fence *fence, struct fence_counts *ret_counts) {
    struct fence_counts counts = {0};
    int rc = connect_nft(fence);
    if (rc == 0) {
        struct nlmsghdr *message = nft_question(fence->nft, NFT_MSG_GETRULE, NFPROTO_INET, true);
        mnl_attr_put_strz(message, NFTA_RULE_TABLE, fence->table);
        rc = nft_ask(fence->nft, count_rule, &counts);
    }
    if (rc == 0 || rc == -EINTR) { /* what was told is right, and the next one asks again */
        *ret_counts = counts;
        rc = 0;
    }
    return rc;
}

int fence_remove(struct fence *fence, struct problem *ret_problem) {
    struct buf is = {0};
    bool ours = false;
    int rc = connect_nft(fence);
    rc = rc < 0 ? rc : read_table(fence, &is, &ours);
    buf_free(&is);
    if (rc == -ENOENT || (rc == 0 && !ours)) {
        return 0;
    }
    if (rc == 0) {
        nft_begin(fence->nft);
        add(fence, NFT_MSG_DELTABLE, 0);
        rc = nft_commit(fence->nft);
    }
    return rc < 0 ? report_failure(fence, rc, ret_problem) : 0;
}
