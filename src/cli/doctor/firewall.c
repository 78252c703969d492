#include "cli/doctor/firewall.h"

/* libc's addresses go first: the kernel's header then leaves them out */
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "backend/host/ruleset.h"

#define JUMPS_MOST 16     /* the kernel's own limit */
#define STEPS_MOST 200000 /* then it cannot be told */
#define LOOPBACK_INDEX 1

/* What a rule's matches say about the packets in question. */
enum meaning {
    MEANS_THEM,   /* all of them go on */
    MEANS_OTHERS, /* none */
    MEANS_MAYBE,
};

/* Which packets are in question: IPv4, and the first of a connection unless said otherwise. */
struct question {
    struct ruleset *ruleset;
    bool forward;
    uint16_t port;         /* of input: UDP to it */
    const char *interface; /* of forward */
    bool outward;          /* of forward: towards the interface, not from it */
    uint32_t state;        /* of connection tracking, bits */
};

/* What a register holds. */
struct value {
    enum ruleset_field field;
    bool known;
    uint8_t size;
    uint8_t bytes[RULESET_VALUE_SIZE];
};

/* The way of the packets through a base chain and those it jumps to. */
struct walk {
    const struct question *question;
    unsigned steps, depth;
    bool maybe; /* only some of them are here */
    bool some_accepted;
};

enum outcome { OUTCOME_ACCEPTED, OUTCOME_DROPPED, OUTCOME_GOES_ON, OUTCOME_UNKNOWN };

/* --- values --- */

static void put(struct value *value, const void *bytes, size_t size) {
    value->known = true;
    value->size = (uint8_t)size;
    memcpy(value->bytes, bytes, size);
}

static void put_name(struct value *value, const char *name) {
    char padded[IF_NAMESIZE] = "";
    strncpy(padded, name, sizeof padded - 1);
    put(value, padded, sizeof padded);
}

static struct value load(const struct question *q, enum ruleset_field field) {
    static const uint8_t udp = IPPROTO_UDP, ipv4 = NFPROTO_IPV4;
    const uint16_t port = htons(q->port);
    struct value value = {.field = field};
    switch (field) {
    case RULESET_INPUT_NAME:
        if (q->forward && !q->outward) {
            put_name(&value, q->interface);
        }
        break;
    case RULESET_OUTPUT_NAME:
        if (q->forward && q->outward) {
            put_name(&value, q->interface);
        }
        break;
    case RULESET_FAMILY:
        put(&value, &ipv4, sizeof ipv4);
        break;
    case RULESET_PROTOCOL:
        if (!q->forward) {
            put(&value, &udp, sizeof udp);
        }
        break;
    case RULESET_DESTINATION_PORT:
        if (!q->forward) {
            put(&value, &port, sizeof port);
        }
        break;
    case RULESET_STATE:
        put(&value, &q->state, sizeof q->state);
        break;
    case RULESET_INPUT_INDEX:
    case RULESET_OUTPUT_INDEX:
    case RULESET_SOURCE_PORT:
    case RULESET_OTHER:
        break;
    }
    return value;
}

static void mask(struct value *value, const struct ruleset_step *step) {
    if (value->known && value->size != step->size) {
        value->known = false;
    }
    for (size_t i = 0; i < step->size && value->known; i++) {
        value->bytes[i] = (uint8_t)((value->bytes[i] & step->value[i]) ^ step->other[i]);
    }
}

/* --- one step --- */

static enum meaning meaning_of(bool holds) {
    return holds ? MEANS_THEM : MEANS_OTHERS;
}

static bool holds(enum ruleset_comparison comparison, int difference) {
    switch (comparison) {
    case RULESET_EQUAL:
        return difference == 0;
    case RULESET_DIFFERENT:
        return difference != 0;
    case RULESET_LESS:
        return difference < 0;
    case RULESET_AT_MOST:
        return difference <= 0;
    case RULESET_MORE:
        return difference > 0;
    case RULESET_AT_LEAST:
        return difference >= 0;
    }
    return false;
}

/* Of packets from elsewhere one thing is known: they did not come in by the loopback interface. */
static bool is_loopback(const struct value *value, const struct ruleset_step *step) {
    static const char name[IF_NAMESIZE] = "lo";
    uint32_t index = 0;
    if (value->field == RULESET_INPUT_INDEX && step->size == sizeof index) {
        memcpy(&index, step->value, sizeof index);
    }
    return index == LOOPBACK_INDEX || (value->field == RULESET_INPUT_NAME && step->size <= sizeof name &&
                                       step->size >= sizeof "lo" && memcmp(name, step->value, step->size) == 0);
}

static enum meaning compare(const struct value *value, const struct ruleset_step *step) {
    if (!value->known) {
        bool same_or_not = step->comparison == RULESET_EQUAL || step->comparison == RULESET_DIFFERENT;
        return same_or_not && is_loopback(value, step) ? meaning_of(step->comparison == RULESET_DIFFERENT)
                                                       : MEANS_MAYBE;
    }
    /* "wg*" is compared over its letters only */
    if (step->size > value->size) {
        return MEANS_MAYBE;
    }
    return meaning_of(holds(step->comparison, memcmp(value->bytes, step->value, step->size)));
}

static enum meaning in_range(const struct value *value, const struct ruleset_step *step) {
    if (!value->known || value->size != step->size) {
        return MEANS_MAYBE;
    }
    bool inside =
        memcmp(value->bytes, step->value, step->size) >= 0 && memcmp(value->bytes, step->other, step->size) <= 0;
    return meaning_of(inside != step->inverted);
}

/* Sets of states have single ones as elements. */
static void one_state(struct value *value) {
    uint32_t bits;
    if (value->known && value->field == RULESET_STATE) {
        memcpy(&bits, value->bytes, sizeof bits);
        bits &= ~bits + 1;
        memcpy(value->bytes, &bits, sizeof bits);
    }
}

static enum meaning look_up(const struct question *q, const struct ruleset_chain *chain, struct value value,
                            const struct ruleset_step *step, struct ruleset_verdict *ret_verdict) {
    one_state(&value);
    int found = value.known ? ruleset_find(q->ruleset, chain, step->name, value.bytes, value.size, ret_verdict) : -1;
    return found < 0 ? MEANS_MAYBE : meaning_of((found != 0) != step->inverted);
}

static enum meaning both(enum meaning a, enum meaning b) {
    return a == MEANS_OTHERS || b == MEANS_OTHERS ? MEANS_OTHERS
           : a == MEANS_MAYBE || b == MEANS_MAYBE ? MEANS_MAYBE
                                                  : MEANS_THEM;
}

/* --- rules and chains --- */

static enum outcome walk_chain(struct walk *walk, const struct ruleset_chain *chain);

static enum outcome enter(struct walk *walk, const struct ruleset_chain *beside, const char *name) {
    const struct ruleset_chain *chain = ruleset_chain_of(walk->question->ruleset, beside, name);
    if (!chain || walk->depth >= JUMPS_MOST) {
        return OUTCOME_UNKNOWN;
    }
    walk->depth++;
    enum outcome outcome = walk_chain(walk, chain);
    walk->depth--;
    return outcome;
}

/* What a verdict makes of those it is for. `ret_ends`: they do not come to the next rule of this chain. */
static enum outcome follow(struct walk *walk, const struct ruleset_chain *chain, enum ruleset_decision decision,
                           const char *name, bool *ret_ends) {
    enum outcome outcome = OUTCOME_GOES_ON;
    *ret_ends = true;
    switch (decision) {
    case RULESET_ACCEPT:
        walk->some_accepted |= walk->maybe;
        return OUTCOME_ACCEPTED;
    case RULESET_DROP:
        return OUTCOME_DROPPED;
    case RULESET_ASK:
        walk->some_accepted = true;
        return OUTCOME_UNKNOWN;
    case RULESET_RETURN:
        return OUTCOME_GOES_ON;
    case RULESET_GOTO:
        return enter(walk, chain, name);
    case RULESET_JUMP:
        outcome = enter(walk, chain, name);
        *ret_ends = outcome != OUTCOME_GOES_ON;
        return outcome;
    }
    return outcome;
}

/* The same for those of them that a rule may be about: the others go on, whatever becomes of these. */
static enum outcome follow_some(struct walk *walk, const struct ruleset_chain *chain, enum ruleset_decision decision,
                                const char *name) {
    bool ends, before = walk->maybe;
    walk->maybe = true;
    enum outcome outcome = follow(walk, chain, decision, name, &ends);
    walk->maybe = before;
    walk->some_accepted |= outcome == OUTCOME_UNKNOWN;
    return OUTCOME_GOES_ON;
}

/* `ret_ends`: no packet comes to the next rule. */
static enum outcome walk_rule(struct walk *walk, const struct ruleset_chain *chain, const struct ruleset_rule *rule,
                              bool *ret_ends) {
    struct value registers[RULESET_REGISTERS] = {0};
    struct ruleset_verdict verdict;
    enum meaning meaning = MEANS_THEM;
    for (size_t i = 0; i < rule->count && meaning != MEANS_OTHERS; i++) {
        const struct ruleset_step *step = &rule->steps[i];
        const struct value *value = &registers[step->from];
        bool decides = false;
        switch (step->kind) {
        case RULESET_LOAD:
            registers[step->to] = load(walk->question, step->field);
            break;
        case RULESET_MASK:
            registers[step->to] = *value;
            mask(&registers[step->to], step);
            break;
        case RULESET_SPOIL:
            registers[step->to] = (struct value){0};
            break;
        case RULESET_COMPARE:
            meaning = both(meaning, compare(value, step));
            break;
        case RULESET_RANGE:
            meaning = both(meaning, in_range(value, step));
            break;
        case RULESET_LOOKUP:
            verdict = (struct ruleset_verdict){.decision = RULESET_ASK};
            meaning = both(meaning, look_up(walk->question, chain, *value, step, &verdict));
            decides = step->of_verdicts;
            break;
        case RULESET_MAYBE:
            meaning = both(meaning, MEANS_MAYBE);
            break;
        case RULESET_DECIDE:
            verdict.decision = step->decision;
            snprintf(verdict.chain, sizeof verdict.chain, "%s", step->name ? step->name : "");
            decides = true;
            break;
        case RULESET_NOTRACK:
            break;
        }
        if (decides && meaning == MEANS_THEM) {
            return follow(walk, chain, verdict.decision, verdict.chain, ret_ends);
        }
        if (decides && meaning == MEANS_MAYBE) {
            return follow_some(walk, chain, verdict.decision, verdict.chain);
        }
    }
    return OUTCOME_GOES_ON;
}

static enum outcome walk_chain(struct walk *walk, const struct ruleset_chain *chain) {
    for (size_t i = 0; i < chain->count; i++) {
        bool ends = false;
        if (++walk->steps > STEPS_MOST) {
            return OUTCOME_UNKNOWN;
        }
        enum outcome outcome = walk_rule(walk, chain, &chain->rules[i], &ends);
        if (ends) {
            return outcome;
        }
    }
    return OUTCOME_GOES_ON;
}

static enum doctor_passage passage_of(const struct question *q, const struct ruleset_chain *chain) {
    struct walk walk = {.question = q};
    enum outcome outcome = walk_chain(&walk, chain);
    if (outcome == OUTCOME_GOES_ON) {
        outcome = chain->drops ? OUTCOME_DROPPED : OUTCOME_ACCEPTED;
    }
    if (outcome == OUTCOME_ACCEPTED) {
        return DOCTOR_OPEN;
    }
    return outcome == OUTCOME_UNKNOWN || walk.some_accepted ? DOCTOR_UNKNOWN : DOCTOR_CLOSED;
}

static bool is_ours(const struct ruleset_chain *chain) {
    return strncmp(chain->table, "sallyport_", 10) == 0;
}

static void look(const struct question *q, uint32_t hook, struct doctor_gate *gate) {
    for (size_t i = 0; i < q->ruleset->count; i++) {
        const struct ruleset_chain *chain = &q->ruleset->chains[i];
        if (!chain->base || chain->hook != hook || chain->family_number == NFPROTO_IPV6 || is_ours(chain)) {
            continue;
        }
        enum doctor_passage passage = passage_of(q, chain);
        if (passage > gate->passage) {
            gate->passage = passage;
            snprintf(gate->family, sizeof gate->family, "%s", chain->family);
            snprintf(gate->table, sizeof gate->table, "%s", chain->table);
            snprintf(gate->chain, sizeof gate->chain, "%s", chain->name);
        }
    }
}

/* Whether our own table keeps the tunnels' datagrams out of connection tracking. */
static bool is_untracked(const struct ruleset *ruleset) {
    for (size_t i = 0; i < ruleset->count; i++) {
        const struct ruleset_chain *chain = &ruleset->chains[i];
        for (size_t j = 0; j < chain->count && is_ours(chain) && chain->hook == NF_INET_PRE_ROUTING; j++) {
            const struct ruleset_rule *rule = &chain->rules[j];
            for (size_t k = 0; k < rule->count; k++) {
                if (rule->steps[k].kind == RULESET_NOTRACK) {
                    return true;
                }
            }
        }
    }
    return false;
}

void doctor_firewall_input(struct ruleset *ruleset, uint16_t port, struct doctor_gate *ret_gate) {
    const struct question q = {
        .ruleset = ruleset, .port = port, .state = is_untracked(ruleset) ? RULESET_STATE_UNTRACKED : RULESET_STATE_NEW};
    *ret_gate = (struct doctor_gate){.passage = DOCTOR_OPEN};
    look(&q, NF_INET_LOCAL_IN, ret_gate);
}

/* From the interface new connections must pass; towards it answers are enough. */
void doctor_firewall_forward(struct ruleset *ruleset, const char *interface_name, struct doctor_gate *ret_gate) {
    struct question q = {.ruleset = ruleset, .forward = true, .interface = interface_name, .state = RULESET_STATE_NEW};
    *ret_gate = (struct doctor_gate){.passage = DOCTOR_OPEN};
    look(&q, NF_INET_FORWARD, ret_gate);
    q.outward = true;
    q.state = RULESET_STATE_ESTABLISHED | RULESET_STATE_NEW;
    look(&q, NF_INET_FORWARD, ret_gate);
}
