#include "backend/host/ruleset.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/host/nft.h"

#define ATTEMPTS 8 /* to read it all while others change it */

/* --- memory --- */

static void rule_wipe(struct ruleset_rule *rule) {
    for (size_t i = 0; i < rule->count; i++) {
        free(rule->steps[i].name);
    }
    free(rule->steps);
}

static void forget(struct ruleset *r) {
    for (size_t i = 0; i < r->count; i++) {
        for (size_t j = 0; j < r->chains[i].count; j++) {
            rule_wipe(&r->chains[i].rules[j]);
        }
        free(r->chains[i].rules);
    }
    free(r->chains);
    r->chains = NULL;
    r->count = 0;
}

void ruleset_free(struct ruleset *ruleset) {
    if (!ruleset) {
        return;
    }
    forget(ruleset);
    nft_close(ruleset->nft);
    free(ruleset);
}

/* One more in a list that doubles: the place, or NULL. */
static void *one_more(void **list, size_t *count, size_t size) {
    if ((*count & (*count - 1)) == 0) {
        void *more = reallocarray(*list, *count ? *count * 2 : 1, size);
        if (!more) {
            return NULL;
        }
        *list = more;
    }
    void *place = (uint8_t *)*list + *count * size;
    memset(place, 0, size);
    ++*count;
    return place;
}

/* --- chains --- */

static const char *family_name(uint8_t family) {
    return family == NFPROTO_INET ? "inet" : family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : NULL;
}

static uint8_t family_of(const struct nlmsghdr *message) {
    const struct nfgenmsg *info = mnl_nlmsg_get_payload(message);
    return info->nfgen_family;
}

static int fail_with(int error) {
    errno = error;
    return MNL_CB_ERROR;
}

static int take_chain(const struct nlmsghdr *message, void *context) {
    struct ruleset *r = context;
    struct attributes attributes = nft_attributes_of(message);
    if (!family_name(family_of(message))) {
        return MNL_CB_OK;
    }
    struct ruleset_chain *chain = one_more((void **)&r->chains, &r->count, sizeof *chain);
    if (!chain) {
        return fail_with(ENOMEM);
    }
    chain->family_number = family_of(message);
    chain->family = family_name(chain->family_number);
    snprintf(chain->table, sizeof chain->table, "%s", attribute_text(attributes.of[NFTA_CHAIN_TABLE]));
    snprintf(chain->name, sizeof chain->name, "%s", attribute_text(attributes.of[NFTA_CHAIN_NAME]));
    chain->base =
        attributes.of[NFTA_CHAIN_HOOK] && strcmp(attribute_text(attributes.of[NFTA_CHAIN_TYPE]), "filter") == 0;
    if (chain->base) {
        struct attributes hook = attributes_in(attributes.of[NFTA_CHAIN_HOOK]);
        chain->hook = nft_u32(hook.of[NFTA_HOOK_HOOKNUM]);
        chain->drops = attributes.of[NFTA_CHAIN_POLICY] && nft_u32(attributes.of[NFTA_CHAIN_POLICY]) == NF_DROP;
    }
    return MNL_CB_OK;
}

/* Begins to look at number `from` and goes round. */
static struct ruleset_chain *find_chain(const struct ruleset *r, size_t from, uint8_t family, const char *table,
                                        const char *name) {
    for (size_t i = 0; i < r->count; i++) {
        struct ruleset_chain *chain = &r->chains[(from + i) % r->count];
        if (chain->family_number == family && strcmp(chain->name, name) == 0 && strcmp(chain->table, table) == 0) {
            return chain;
        }
    }
    return NULL;
}

const struct ruleset_chain *ruleset_chain_of(const struct ruleset *ruleset, const struct ruleset_chain *beside,
                                             const char *name) {
    return find_chain(ruleset, 0, beside->family_number, beside->table, name);
}

/* --- rules --- */

/* The first of the registers of 4 bytes: the kernel names those of 16 bytes 1 to 4, others from 8 upwards. */
static uint8_t slot_of(const struct nlattr *attribute) {
    uint32_t number = nft_u32(attribute);
    uint32_t slot = number >= NFT_REG32_00 ? number - NFT_REG32_00 : number ? (number - 1) * 4 : RULESET_REGISTERS;
    return slot < RULESET_REGISTERS ? (uint8_t)slot : RULESET_REGISTERS - 1;
}

static void take_value(const struct nlattr *nest, uint8_t value[RULESET_VALUE_SIZE], uint8_t *size) {
    struct attributes data = attributes_in(nest);
    const struct nlattr *bytes = data.of[NFTA_DATA_VALUE];
    uint16_t count = bytes ? mnl_attr_get_payload_len(bytes) : 0;
    if (count <= RULESET_VALUE_SIZE && bytes) {
        memcpy(value, mnl_attr_get_payload(bytes), count);
        *size = (uint8_t)count;
    } else {
        *size = 0;
    }
}

static enum ruleset_field field_of_meta(uint32_t key) {
    static const struct {
        uint32_t key;
        enum ruleset_field field;
    } known[] = {
        {NFT_META_IIFNAME, RULESET_INPUT_NAME}, {NFT_META_OIFNAME, RULESET_OUTPUT_NAME},
        {NFT_META_IIF, RULESET_INPUT_INDEX},    {NFT_META_OIF, RULESET_OUTPUT_INDEX},
        {NFT_META_NFPROTO, RULESET_FAMILY},     {NFT_META_L4PROTO, RULESET_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].key == key) {
            return known[i].field;
        }
    }
    return RULESET_OTHER;
}

static enum ruleset_field field_of_payload(const struct attributes *data) {
    uint32_t base = nft_u32(data->of[NFTA_PAYLOAD_BASE]), offset = nft_u32(data->of[NFTA_PAYLOAD_OFFSET]);
    uint32_t size = nft_u32(data->of[NFTA_PAYLOAD_LEN]);
    if (base == NFT_PAYLOAD_TRANSPORT_HEADER && size == 2 && offset <= 2) {
        return offset == 2 ? RULESET_DESTINATION_PORT : offset == 0 ? RULESET_SOURCE_PORT : RULESET_OTHER;
    }
    /* of IPv4, which is what rules without a family in front of them are mostly about */
    return base == NFT_PAYLOAD_NETWORK_HEADER && size == 1 && offset == 9 ? RULESET_PROTOCOL : RULESET_OTHER;
}

/* Translates one expression. False: it only does something on the side. */
typedef bool translate_fn(const struct attributes *data, struct ruleset_step *step);

static bool of_meta(const struct attributes *data, struct ruleset_step *step) {
    step->kind = RULESET_LOAD;
    step->field = field_of_meta(nft_u32(data->of[NFTA_META_KEY]));
    step->to = slot_of(data->of[NFTA_META_DREG]);
    return data->of[NFTA_META_DREG] != NULL; /* else it sets one */
}

static bool of_payload(const struct attributes *data, struct ruleset_step *step) {
    step->kind = RULESET_LOAD;
    step->field = field_of_payload(data);
    step->to = slot_of(data->of[NFTA_PAYLOAD_DREG]);
    return data->of[NFTA_PAYLOAD_DREG] != NULL;
}

static bool of_ct(const struct attributes *data, struct ruleset_step *step) {
    step->kind = RULESET_LOAD;
    step->field = nft_u32(data->of[NFTA_CT_KEY]) == NFT_CT_STATE ? RULESET_STATE : RULESET_OTHER;
    step->to = slot_of(data->of[NFTA_CT_DREG]);
    return data->of[NFTA_CT_DREG] != NULL;
}

static bool of_bitwise(const struct attributes *data, struct ruleset_step *step) {
    uint8_t size = 0;
    step->from = slot_of(data->of[NFTA_BITWISE_SREG]);
    step->to = slot_of(data->of[NFTA_BITWISE_DREG]);
    take_value(data->of[NFTA_BITWISE_MASK], step->value, &step->size);
    take_value(data->of[NFTA_BITWISE_XOR], step->other, &size);
    step->kind = step->size && step->size == size ? RULESET_MASK : RULESET_SPOIL; /* shifts have neither */
    return true;
}

static bool of_cmp(const struct attributes *data, struct ruleset_step *step) {
    static const enum ruleset_comparison comparisons[] = {
        [NFT_CMP_EQ] = RULESET_EQUAL,    [NFT_CMP_NEQ] = RULESET_DIFFERENT, [NFT_CMP_LT] = RULESET_LESS,
        [NFT_CMP_LTE] = RULESET_AT_MOST, [NFT_CMP_GT] = RULESET_MORE,       [NFT_CMP_GTE] = RULESET_AT_LEAST,
    };
    uint32_t how = nft_u32(data->of[NFTA_CMP_OP]);
    step->from = slot_of(data->of[NFTA_CMP_SREG]);
    take_value(data->of[NFTA_CMP_DATA], step->value, &step->size);
    bool known = step->size && how < sizeof comparisons / sizeof *comparisons;
    step->kind = known ? RULESET_COMPARE : RULESET_MAYBE;
    step->comparison = known ? comparisons[how] : RULESET_EQUAL;
    return true;
}

static bool of_range(const struct attributes *data, struct ruleset_step *step) {
    uint8_t size = 0;
    step->from = slot_of(data->of[NFTA_RANGE_SREG]);
    step->inverted = nft_u32(data->of[NFTA_RANGE_OP]) == NFT_RANGE_NEQ;
    take_value(data->of[NFTA_RANGE_FROM_DATA], step->value, &step->size);
    take_value(data->of[NFTA_RANGE_TO_DATA], step->other, &size);
    step->kind = step->size && step->size == size ? RULESET_RANGE : RULESET_MAYBE;
    return true;
}

static bool of_lookup(const struct attributes *data, struct ruleset_step *step) {
    const struct nlattr *to = data->of[NFTA_LOOKUP_DREG];
    step->kind = RULESET_LOOKUP;
    step->name = strdup(attribute_text(data->of[NFTA_LOOKUP_SET]));
    step->from = slot_of(data->of[NFTA_LOOKUP_SREG]);
    step->of_verdicts = to && nft_u32(to) == NFT_REG_VERDICT;
    step->inverted = (nft_u32(data->of[NFTA_LOOKUP_FLAGS]) & NFT_LOOKUP_F_INV) != 0;
    return true;
}

static void take_verdict(const struct nlattr *nest, struct ruleset_verdict *verdict) {
    struct attributes of = attributes_in(nest);
    int32_t code = (int32_t)nft_u32(of.of[NFTA_VERDICT_CODE]);
    snprintf(verdict->chain, sizeof verdict->chain, "%s", attribute_text(of.of[NFTA_VERDICT_CHAIN]));
    verdict->decision = code == NFT_JUMP     ? RULESET_JUMP
                        : code == NFT_GOTO   ? RULESET_GOTO
                        : code == NFT_RETURN ? RULESET_RETURN
                        : code == NF_ACCEPT  ? RULESET_ACCEPT
                        : code == NF_DROP    ? RULESET_DROP
                                             : RULESET_ASK;
}

static bool of_immediate(const struct attributes *data, struct ruleset_step *step) {
    struct ruleset_verdict verdict;
    struct attributes value = attributes_in(data->of[NFTA_IMMEDIATE_DATA]);
    step->kind = RULESET_SPOIL;
    step->to = slot_of(data->of[NFTA_IMMEDIATE_DREG]);
    if (value.of[NFTA_DATA_VERDICT]) {
        take_verdict(value.of[NFTA_DATA_VERDICT], &verdict);
        step->kind = RULESET_DECIDE;
        step->decision = verdict.decision;
        step->name = strdup(verdict.chain);
    }
    return true;
}

static bool decides(struct ruleset_step *step, enum ruleset_decision decision) {
    step->kind = RULESET_DECIDE;
    step->decision = decision;
    return true;
}

static bool of_reject(const struct attributes *data, struct ruleset_step *step) {
    (void)data;
    return decides(step, RULESET_DROP);
}

static bool of_queue(const struct attributes *data, struct ruleset_step *step) {
    (void)data;
    return decides(step, RULESET_ASK);
}

static bool of_target(const struct attributes *data, struct ruleset_step *step) {
    const char *name = attribute_text(data->of[NFTA_TARGET_NAME]);
    if (strcmp(name, "REJECT") == 0) {
        return decides(step, RULESET_DROP);
    }
    return strncmp(name, "NFQUEUE", 7) == 0 && decides(step, RULESET_ASK);
}

static bool of_notrack(const struct attributes *data, struct ruleset_step *step) {
    (void)data;
    step->kind = RULESET_NOTRACK;
    return true;
}

static bool aside(const struct attributes *data, struct ruleset_step *step) {
    (void)data, (void)step;
    return false;
}

static translate_fn *translator_of(const char *name) {
    static const struct {
        const char *name;
        translate_fn *fn;
    } known[] = {
        {"meta", of_meta},     {"payload", of_payload}, {"ct", of_ct},         {"bitwise", of_bitwise},
        {"cmp", of_cmp},       {"range", of_range},     {"lookup", of_lookup}, {"immediate", of_immediate},
        {"reject", of_reject}, {"queue", of_queue},     {"target", of_target}, {"notrack", of_notrack},
        {"counter", aside},    {"log", aside},          {"last", aside},       {"dup", aside},
        {"objref", aside},     {"flow_offload", aside},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].fn;
        }
    }
    return NULL;
}

static int take_expression(const struct nlattr *element, void *context) {
    struct ruleset_rule *rule = context;
    struct ruleset_step step = {.kind = RULESET_MAYBE};
    struct attributes expression = attributes_in(element);
    struct attributes data = attributes_in(expression.of[NFTA_EXPR_DATA]);
    translate_fn *translate = translator_of(attribute_text(expression.of[NFTA_EXPR_NAME]));
    if (translate && !translate(&data, &step)) {
        return MNL_CB_OK;
    }
    bool needs_name = step.kind == RULESET_LOOKUP || (step.kind == RULESET_DECIDE && step.decision == RULESET_JUMP);
    struct ruleset_step *place =
        needs_name && !step.name ? NULL : one_more((void **)&rule->steps, &rule->count, sizeof *place);
    if (!place) {
        free(step.name);
        return fail_with(ENOMEM);
    }
    *place = step;
    return MNL_CB_OK;
}

/* Rules come chain by chain, in the order in which chains came. */
struct rules_reading {
    struct ruleset *ruleset;
    size_t at; /* the chain of the last one */
};

static int take_rule(const struct nlmsghdr *message, void *context) {
    struct rules_reading *reading = context;
    struct attributes attributes = nft_attributes_of(message);
    struct ruleset_chain *chain =
        find_chain(reading->ruleset, reading->at, family_of(message), attribute_text(attributes.of[NFTA_RULE_TABLE]),
                   attribute_text(attributes.of[NFTA_RULE_CHAIN]));
    if (!chain || !attributes.of[NFTA_RULE_EXPRESSIONS]) {
        return MNL_CB_OK;
    }
    reading->at = (size_t)(chain - reading->ruleset->chains);
    struct ruleset_rule *rule = one_more((void **)&chain->rules, &chain->count, sizeof *rule);
    if (!rule) {
        return fail_with(ENOMEM);
    }
    return mnl_attr_parse_nested(attributes.of[NFTA_RULE_EXPRESSIONS], take_expression, rule);
}

int ruleset_read(struct ruleset **ret_ruleset) {
    uint32_t generation;
    struct ruleset *r = calloc(1, sizeof *r);
    int rc = r ? nft_open(&r->nft) : -ENOMEM;
    rc = rc < 0 ? rc : nft_generation(r->nft, &generation);
    bool again = rc == 0;
    for (unsigned i = 0; i < ATTEMPTS && again; i++) {
        forget(r);
        nft_question(r->nft, NFT_MSG_GETCHAIN, AF_UNSPEC, true);
        rc = nft_ask(r->nft, take_chain, r);
        if (rc == 0) {
            struct rules_reading reading = {.ruleset = r};
            nft_question(r->nft, NFT_MSG_GETRULE, AF_UNSPEC, true);
            rc = nft_ask(r->nft, take_rule, &reading);
        }
        again = rc == -EINTR;
    }
    if (rc < 0) {
        ruleset_free(r);
        return rc;
    }
    *ret_ruleset = r;
    return 0;
}

/* --- sets --- */

struct search {
    bool found;
    struct ruleset_verdict *verdict;
};

static int take_found(const struct nlattr *element, void *context) {
    struct search *search = context;
    struct attributes attributes = attributes_in(element);
    struct attributes data = attributes_in(attributes.of[NFTA_SET_ELEM_DATA]);
    search->found = true;
    if (search->verdict && data.of[NFTA_DATA_VERDICT]) {
        take_verdict(data.of[NFTA_DATA_VERDICT], search->verdict);
    }
    return MNL_CB_OK;
}

static int take_elements(const struct nlmsghdr *message, void *context) {
    struct attributes attributes = nft_attributes_of(message);
    const struct nlattr *list = attributes.of[NFTA_SET_ELEM_LIST_ELEMENTS];
    return list ? mnl_attr_parse_nested(list, take_found, context) : MNL_CB_OK;
}

int ruleset_find(struct ruleset *ruleset, const struct ruleset_chain *beside, const char *set, const void *key,
                 size_t size, struct ruleset_verdict *ret_verdict) {
    struct ruleset_verdict ignored = {0};
    struct search search = {.verdict = ret_verdict ? ret_verdict : &ignored};
    struct nlmsghdr *message = nft_question(ruleset->nft, NFT_MSG_GETSETELEM, beside->family_number, false);
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, beside->table);
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
    struct nlattr *list = nft_nest(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *element = nft_nest(message, NFTA_LIST_ELEM);
    struct nlattr *value = nft_nest(message, NFTA_SET_ELEM_KEY);
    mnl_attr_put(message, NFTA_DATA_VALUE, size, key);
    mnl_attr_nest_end(message, value);
    mnl_attr_nest_end(message, element);
    mnl_attr_nest_end(message, list);
    int rc = nft_ask(ruleset->nft, take_elements, &search);
    return rc == -ENOENT ? 0 : rc < 0 ? rc : search.found;
}
