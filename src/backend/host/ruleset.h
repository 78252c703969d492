/* The host's firewall, as far as it decides what is let through: base chains, the chains they jump to, and their rules,
 * from nf_tables. Rules are told as steps of which a reader can say what they do to a packet that it has in mind.
 *
 * Elements of sets are never read: there may be hundreds of thousands. Whether a set has one is asked for when it
 * matters (ruleset_find()). Needs CAP_NET_ADMIN. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RULESET_NAME_SIZE 128
#define RULESET_VALUE_SIZE 16
#define RULESET_REGISTERS 16 /* of 4 bytes each; a value may take several */

/* What a rule can look at, and we understand. */
enum ruleset_field {
    RULESET_OTHER,
    RULESET_INPUT_NAME, /* of an interface, with zeros behind it */
    RULESET_OUTPUT_NAME,
    RULESET_INPUT_INDEX, /* host order */
    RULESET_OUTPUT_INDEX,
    RULESET_FAMILY,   /* 2: IPv4, 10: IPv6 */
    RULESET_PROTOCOL, /* IPPROTO_... */
    RULESET_SOURCE_PORT,
    RULESET_DESTINATION_PORT, /* network order */
    RULESET_STATE,            /* of the connection: RULESET_STATE_..., host order */
};

#define RULESET_STATE_ESTABLISHED 2u
#define RULESET_STATE_RELATED 4u
#define RULESET_STATE_NEW 8u
#define RULESET_STATE_UNTRACKED 64u

enum ruleset_comparison {
    RULESET_EQUAL,
    RULESET_DIFFERENT,
    RULESET_LESS,
    RULESET_AT_MOST,
    RULESET_MORE,
    RULESET_AT_LEAST
};

enum ruleset_decision {
    RULESET_ACCEPT,
    RULESET_DROP,
    RULESET_JUMP,
    RULESET_GOTO,
    RULESET_RETURN,
    RULESET_ASK, /* a program beyond the kernel decides */
};

struct ruleset_verdict {
    enum ruleset_decision decision;
    char chain[RULESET_NAME_SIZE]; /* of a jump or goto */
};

enum ruleset_kind {
    RULESET_LOAD,    /* puts `field` into `to` */
    RULESET_MASK,    /* to = (from & value) ^ other */
    RULESET_SPOIL,   /* `to` holds something else from here on */
    RULESET_COMPARE, /* goes on if `from` is as compared with value */
    RULESET_RANGE,   /* goes on if `from` lies from value to other; `inverted`: if not */
    RULESET_LOOKUP,  /* goes on if `from` is in the set called `name`, and does what is said there if it is a map of
                        verdicts */
    RULESET_MAYBE,   /* goes on, or not: limits, quotas, matches of iptables */
    RULESET_DECIDE,  /* `name` and `decision` */
    RULESET_NOTRACK, /* the connection is not tracked */
};

struct ruleset_step {
    enum ruleset_kind kind;
    enum ruleset_field field;
    enum ruleset_comparison comparison;
    enum ruleset_decision decision;
    bool inverted, of_verdicts;
    uint8_t from, to; /* registers */
    uint8_t size;     /* of value and other */
    uint8_t value[RULESET_VALUE_SIZE], other[RULESET_VALUE_SIZE];
    char *name; /* owned; NULL: none */
};

struct ruleset_rule {
    struct ruleset_step *steps; /* owned */
    size_t count;
};

struct ruleset_chain {
    const char *family; /* "ip", "ip6", "inet" */
    uint8_t family_number;
    char table[RULESET_NAME_SIZE], name[RULESET_NAME_SIZE];
    bool base;     /* packets come to it by themselves, at `hook`; what comes to its end is dropped, or not */
    uint32_t hook; /* NF_INET_LOCAL_IN, ... */
    bool drops;
    struct ruleset_rule *rules; /* owned */
    size_t count;
};

struct ruleset {
    struct nft *nft;              /* owned */
    struct ruleset_chain *chains; /* owned */
    size_t count;
};

/* IPv4's, IPv6's and common tables. -EPERM; -EOPNOTSUPP: this kernel has no nf_tables; -ENOMEM. */
int ruleset_read(struct ruleset **ret_ruleset);
void ruleset_free(struct ruleset *ruleset); /* accepts NULL */

/* The chain of that name in the same table. NULL: none. */
const struct ruleset_chain *ruleset_chain_of(const struct ruleset *ruleset, const struct ruleset_chain *beside,
                                             const char *name);
/* Whether a set of a chain's table has an element, or a range with it: 1, 0; -errno: cannot be told. `ret_verdict`
 * (NULL: no matter) is filled if it is a map of verdicts. */
int ruleset_find(struct ruleset *ruleset, const struct ruleset_chain *beside, const char *set, const void *key,
                 size_t size, struct ruleset_verdict *ret_verdict);
