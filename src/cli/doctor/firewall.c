#include "cli/doctor/firewall.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/show/field.h"

/* What a match says about the packets in question. */
enum meaning {
    MEANS_THEM,   /* it holds for them */
    MEANS_OTHERS, /* it holds for others only */
    MEANS_MAYBE,
};

/* Which packets are in question. */
struct question {
    const json_t *objects; /* the ruleset's array */
    bool forward;
    uint16_t port;         /* of input */
    const char *interface; /* of forward */
    bool outward;          /* of forward: towards the interface, not from it */
};

/* --- values: 51820, {"set": [...]}, {"range": [1, 2]}, "@name" --- */

static bool value_holds(const struct question *q, const json_t *table, const json_t *value, uint16_t port);

static bool list_holds(const struct question *q, const json_t *table, const json_t *list, uint16_t port) {
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) {
        if (value_holds(q, table, item, port)) {
            return true;
        }
    }
    return false;
}

/* The elements of a named set of the same table. */
static const json_t *set_find(const struct question *q, const json_t *table, const char *name) {
    size_t i;
    const json_t *object;
    json_array_foreach(q->objects, i, object) {
        const json_t *set = json_object_get(object, "set");
        if (set && strcmp(field_text(set, "name"), name) == 0 &&
            strcmp(field_text(set, "table"), field_text(table, "table")) == 0 &&
            strcmp(field_text(set, "family"), field_text(table, "family")) == 0) {
            return json_object_get(set, "elem");
        }
    }
    return NULL;
}

static bool value_holds(const struct question *q, const json_t *table, const json_t *value, uint16_t port) {
    const json_t *range = json_object_get(value, "range"), *set = json_object_get(value, "set");
    const json_t *elem = json_object_get(value, "elem");
    if (json_is_integer(value)) {
        return json_integer_value(value) == port;
    }
    if (json_is_string(value) && json_string_value(value)[0] == '@') {
        return list_holds(q, table, set_find(q, table, json_string_value(value) + 1), port);
    }
    if (range) {
        return json_integer_value(json_array_get(range, 0)) <= port &&
               port <= json_integer_value(json_array_get(range, 1));
    }
    if (elem) {
        return value_holds(q, table, json_object_get(elem, "val"), port);
    }
    return set && list_holds(q, table, set, port);
}

/* "wg0", "wg*", or a set of such. */
static bool interface_holds(const char *interface, const json_t *value) {
    const json_t *set = json_object_get(value, "set");
    size_t i;
    const json_t *item;
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t size = strlen(text);
        return size && text[size - 1] == '*' ? strncmp(text, interface, size - 1) == 0 : strcmp(text, interface) == 0;
    }
    json_array_foreach(set, i, item) {
        if (interface_holds(interface, item)) {
            return true;
        }
    }
    return false;
}

static bool holds_word(const json_t *value, const char *word) {
    const json_t *set = json_object_get(value, "set");
    const json_t *list = json_is_array(value) ? value : set;
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) {
        if (holds_word(item, word)) {
            return true;
        }
    }
    return json_is_string(value) && strcmp(json_string_value(value), word) == 0;
}

/* --- one match of a rule --- */

static enum meaning meaning_of_interface(const struct question *q, bool of_input, const json_t *right, bool differs) {
    if (!q->forward) {
        bool loopback = of_input && interface_holds("lo", right);
        return loopback && !differs ? MEANS_OTHERS : MEANS_MAYBE;
    }
    if (of_input == q->outward) {
        return MEANS_MAYBE; /* the other end: some of the packets */
    }
    return interface_holds(q->interface, right) != differs ? MEANS_THEM : MEANS_OTHERS;
}

static enum meaning meaning_of_payload(const struct question *q, const json_t *table, const json_t *payload,
                                       const json_t *right, bool differs) {
    const char *protocol = field_text(payload, "protocol"), *field = field_text(payload, "field");
    bool of_port = strcmp(field, "dport") == 0 && (strcmp(protocol, "udp") == 0 || strcmp(protocol, "th") == 0);
    if (of_port && !q->forward) {
        return value_holds(q, table, right, q->port) != differs ? MEANS_THEM : MEANS_OTHERS;
    }
    if (strcmp(field, "protocol") == 0 || strcmp(field, "nexthdr") == 0) {
        return q->forward ? MEANS_MAYBE : holds_word(right, "udp") != differs ? MEANS_THEM : MEANS_OTHERS;
    }
    bool other = strcmp(protocol, "tcp") == 0 || strncmp(protocol, "icmp", 4) == 0;
    return other && !q->forward ? MEANS_OTHERS : MEANS_MAYBE;
}

static enum meaning meaning_of_match(const struct question *q, const json_t *rule, const json_t *match) {
    const json_t *left = json_object_get(match, "left"), *right = json_object_get(match, "right");
    const json_t *payload = json_object_get(left, "payload");
    bool differs = strcmp(field_text(match, "op"), "!=") == 0;
    const char *meta = field_text(left, "meta.key");
    if (payload) {
        return meaning_of_payload(q, rule, payload, right, differs);
    }
    if (strcmp(field_text(left, "ct.key"), "state") == 0) {
        /* answers pass anyway; it is new packets that must */
        bool outward_answers = q->forward && q->outward;
        return outward_answers || holds_word(right, "new") != differs ? MEANS_THEM : MEANS_OTHERS;
    }
    if (strcmp(meta, "iifname") == 0 || strcmp(meta, "iif") == 0) {
        return meaning_of_interface(q, true, right, differs);
    }
    if (strcmp(meta, "oifname") == 0 || strcmp(meta, "oif") == 0) {
        return meaning_of_interface(q, false, right, differs);
    }
    if (strcmp(meta, "l4proto") == 0 && !q->forward) {
        bool udp = holds_word(right, "udp") || value_holds(q, rule, right, 17);
        return udp != differs ? MEANS_THEM : MEANS_OTHERS;
    }
    return MEANS_MAYBE;
}

/* --- one rule --- */

struct reading {
    enum meaning meaning; /* of all its matches together */
    bool accepts, drops;
};

static enum meaning both(enum meaning a, enum meaning b) {
    return a == MEANS_OTHERS || b == MEANS_OTHERS ? MEANS_OTHERS
           : a == MEANS_MAYBE || b == MEANS_MAYBE ? MEANS_MAYBE
                                                  : MEANS_THEM;
}

/* "udp dport vmap { 51820 : accept }" */
static void read_map(const struct question *q, const json_t *rule, const json_t *map, struct reading *r) {
    const json_t *payload = json_object_get(json_object_get(map, "key"), "payload");
    const json_t *pairs = json_object_get(json_object_get(map, "data"), "set");
    size_t i;
    const json_t *pair;
    if (!payload || !pairs || q->forward) {
        r->meaning = both(r->meaning, MEANS_MAYBE);
        r->accepts = true;
        return;
    }
    json_array_foreach(pairs, i, pair) {
        if (meaning_of_payload(q, rule, payload, json_array_get(pair, 0), false) == MEANS_THEM) {
            r->accepts |= json_object_get(json_array_get(pair, 1), "accept") != NULL;
            r->drops |= json_object_get(json_array_get(pair, 1), "drop") != NULL;
        }
    }
}

static struct reading read_rule(const struct question *q, const json_t *rule) {
    struct reading r = {.meaning = MEANS_THEM};
    size_t i;
    const json_t *expression;
    json_array_foreach(json_object_get(rule, "expr"), i, expression) {
        const json_t *match = json_object_get(expression, "match"), *map = json_object_get(expression, "vmap");
        if (match) {
            r.meaning = both(r.meaning, meaning_of_match(q, rule, match));
        } else if (map) {
            read_map(q, rule, map, &r);
        } else if (json_object_get(expression, "xt")) {
            r.meaning = both(r.meaning, MEANS_MAYBE); /* iptables' own, which libnftables cannot read */
        }
        r.accepts |= json_object_get(expression, "accept") != NULL;
        r.drops |= json_object_get(expression, "drop") != NULL || json_object_get(expression, "reject") != NULL;
    }
    return r;
}

/* --- one chain --- */

static bool same_table(const json_t *a, const json_t *b) {
    return strcmp(field_text(a, "table"), field_text(b, "table")) == 0 &&
           strcmp(field_text(a, "family"), field_text(b, "family")) == 0;
}

/* Whether packets can get from a base chain to a rule: it is its own, or of a chain that is jumped to. */
static bool may_reach(const struct question *q, const json_t *base, const json_t *rule) {
    const char *name = field_text(rule, "chain");
    size_t i;
    const json_t *object;
    if (strcmp(name, field_text(base, "name")) == 0) {
        return true;
    }
    json_array_foreach(q->objects, i, object) {
        const json_t *chain = json_object_get(object, "chain");
        if (chain && strcmp(field_text(chain, "name"), name) == 0 && same_table(chain, base)) {
            return !field_text(chain, "hook")[0];
        }
    }
    return true;
}

/* Rules that packets may get to by jumps are taken for rules of the chain itself. */
static enum doctor_passage passage_of(const struct question *q, const json_t *chain) {
    bool closed = strcmp(field_text(chain, "policy"), "drop") == 0;
    bool maybe = false, accepted = false;
    size_t i;
    const json_t *object;
    json_array_foreach(q->objects, i, object) {
        const json_t *rule = json_object_get(object, "rule");
        if (!rule || !same_table(rule, chain) || !may_reach(q, chain, rule)) {
            continue;
        }
        struct reading r = read_rule(q, rule);
        bool own = strcmp(field_text(rule, "chain"), field_text(chain, "name")) == 0;
        if (r.accepts && r.meaning == MEANS_THEM) {
            accepted = true;
        } else if (r.accepts && r.meaning == MEANS_MAYBE) {
            maybe = true;
        }
        if (own && r.drops && r.meaning == MEANS_THEM && !accepted) {
            closed = true;
        }
    }
    return !closed || accepted ? DOCTOR_OPEN : maybe ? DOCTOR_UNKNOWN : DOCTOR_CLOSED;
}

static void look(const struct question *q, const char *hook, struct doctor_gate *gate) {
    size_t i;
    const json_t *object;
    json_array_foreach(q->objects, i, object) {
        const json_t *chain = json_object_get(object, "chain");
        const char *family = field_text(chain, "family");
        if (!chain || strcmp(field_text(chain, "hook"), hook) != 0 ||
            (strcmp(family, "inet") != 0 && strcmp(family, "ip") != 0) ||
            strncmp(field_text(chain, "table"), "sallyport_", 10) == 0) {
            continue;
        }
        enum doctor_passage passage = passage_of(q, chain);
        if (passage > gate->passage) {
            gate->passage = passage;
            snprintf(gate->family, sizeof gate->family, "%s", family);
            snprintf(gate->table, sizeof gate->table, "%s", field_text(chain, "table"));
            snprintf(gate->chain, sizeof gate->chain, "%s", field_text(chain, "name"));
        }
    }
}

void doctor_firewall_input(const json_t *ruleset, uint16_t port, struct doctor_gate *ret_gate) {
    const struct question q = {.objects = json_object_get(ruleset, "nftables"), .port = port};
    *ret_gate = (struct doctor_gate){.passage = DOCTOR_OPEN};
    look(&q, "input", ret_gate);
}

void doctor_firewall_forward(const json_t *ruleset, const char *interface_name, struct doctor_gate *ret_gate) {
    struct question q = {.objects = json_object_get(ruleset, "nftables"), .forward = true, .interface = interface_name};
    *ret_gate = (struct doctor_gate){.passage = DOCTOR_OPEN};
    look(&q, "forward", ret_gate);
    q.outward = true;
    look(&q, "forward", ret_gate);
}
