#include "backend/host/rule.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "backend/host/nft.h"
#include "model/prefix.h"

/* As nft(8) writes comments: type, size with the NUL, text. */
#define COMMENT_TYPE 0
#define COMMENT_MOST 128

void rule_begin(struct nft *nft, struct rule *rule, const char *table, const char *chain, const char *comment) {
    *rule = (struct rule){.message = nft_add(nft, NFT_MSG_NEWRULE, NFPROTO_INET, NLM_F_CREATE | NLM_F_APPEND)};
    mnl_attr_put_strz(rule->message, NFTA_RULE_TABLE, table);
    mnl_attr_put_strz(rule->message, NFTA_RULE_CHAIN, chain);
    if (comment) {
        uint8_t data[2 + COMMENT_MOST] = {COMMENT_TYPE};
        int size = snprintf((char *)data + 2, COMMENT_MOST, "%s", comment);
        data[1] = (uint8_t)(size < COMMENT_MOST ? size + 1 : COMMENT_MOST);
        mnl_attr_put(rule->message, NFTA_RULE_USERDATA, 2u + data[1], data);
    }
    rule->expressions = nft_nest(rule->message, NFTA_RULE_EXPRESSIONS);
}

void rule_end(struct rule *rule) {
    mnl_attr_nest_end(rule->message, rule->expressions);
}

/* --- one expression --- */

static void open_expression(struct rule *r, const char *name) {
    r->expression = nft_nest(r->message, NFTA_LIST_ELEM);
    mnl_attr_put_strz(r->message, NFTA_EXPR_NAME, name);
    r->data = nft_nest(r->message, NFTA_EXPR_DATA);
}

static void close_expression(struct rule *r) {
    mnl_attr_nest_end(r->message, r->data);
    mnl_attr_nest_end(r->message, r->expression);
}

static void put_number(const struct rule *r, uint16_t attribute, uint32_t value) {
    mnl_attr_put_u32(r->message, attribute, htonl(value));
}

static void put_value(const struct rule *r, uint16_t attribute, const void *value, size_t size) {
    struct nlattr *nest = nft_nest(r->message, attribute);
    mnl_attr_put(r->message, NFTA_DATA_VALUE, size, value);
    mnl_attr_nest_end(r->message, nest);
}

static void compare(struct rule *r, uint32_t how, const void *value, size_t size) {
    open_expression(r, "cmp");
    put_number(r, NFTA_CMP_SREG, NFT_REG_1);
    put_number(r, NFTA_CMP_OP, how);
    put_value(r, NFTA_CMP_DATA, value, size);
    close_expression(r);
}

/* --- what is looked at --- */

void rule_meta(struct rule *rule, uint32_t key) {
    open_expression(rule, "meta");
    put_number(rule, NFTA_META_KEY, key);
    put_number(rule, NFTA_META_DREG, NFT_REG_1);
    close_expression(rule);
}

void rule_payload(struct rule *rule, uint32_t base, uint32_t offset, uint32_t size) {
    open_expression(rule, "payload");
    put_number(rule, NFTA_PAYLOAD_DREG, NFT_REG_1);
    put_number(rule, NFTA_PAYLOAD_BASE, base);
    put_number(rule, NFTA_PAYLOAD_OFFSET, offset);
    put_number(rule, NFTA_PAYLOAD_LEN, size);
    close_expression(rule);
}

static void fib(struct rule *r, uint32_t result, uint32_t flags) {
    open_expression(r, "fib");
    put_number(r, NFTA_FIB_DREG, NFT_REG_1);
    put_number(r, NFTA_FIB_RESULT, result);
    put_number(r, NFTA_FIB_FLAGS, flags);
    close_expression(r);
}

void rule_fib_interface_of_source(struct rule *rule) {
    fib(rule, NFT_FIB_RESULT_OIFNAME, NFTA_FIB_F_SADDR);
}

/* --- what it must be --- */

void rule_is(struct rule *rule, const void *value, size_t size) {
    compare(rule, NFT_CMP_EQ, value, size);
}

void rule_is_not(struct rule *rule, const void *value, size_t size) {
    compare(rule, NFT_CMP_NEQ, value, size);
}

void rule_fib_destination_is_local(struct rule *rule) {
    const uint32_t local = RTN_LOCAL;
    fib(rule, NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR);
    rule_is(rule, &local, sizeof local);
}

/* With all zeros behind it, so that no longer name begins with it. */
static void compare_name(struct rule *r, uint32_t how, const char *interface_name) {
    char name[IF_NAMESIZE] = "";
    strncpy(name, interface_name, sizeof name - 1);
    compare(r, how, name, sizeof name);
}

void rule_is_name(struct rule *rule, const char *interface_name) {
    compare_name(rule, NFT_CMP_EQ, interface_name);
}

void rule_is_not_name(struct rule *rule, const char *interface_name) {
    compare_name(rule, NFT_CMP_NEQ, interface_name);
}

static void udp_port(struct rule *r, uint32_t offset, uint16_t port) {
    const uint8_t udp = IPPROTO_UDP;
    const uint16_t network_order = htons(port);
    rule_meta(r, NFT_META_L4PROTO);
    rule_is(r, &udp, sizeof udp);
    rule_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof network_order);
    rule_is(r, &network_order, sizeof network_order);
}

void rule_udp_source(struct rule *rule, uint16_t port) {
    udp_port(rule, 0, port);
}

void rule_udp_destination(struct rule *rule, uint16_t port) {
    udp_port(rule, 2, port);
}

static void mask(struct rule *r, const uint8_t *bits, size_t size) {
    static const uint8_t none[16];
    open_expression(r, "bitwise");
    put_number(r, NFTA_BITWISE_SREG, NFT_REG_1);
    put_number(r, NFTA_BITWISE_DREG, NFT_REG_1);
    put_number(r, NFTA_BITWISE_LEN, (uint32_t)size);
    put_value(r, NFTA_BITWISE_MASK, bits, size);
    put_value(r, NFTA_BITWISE_XOR, none, size);
    close_expression(r);
}

void rule_source_in(struct rule *rule, const struct prefix *network) {
    bool v4 = network->addr.family == AF_INET;
    const uint8_t family = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    size_t size = ip_bits(&network->addr) / 8u;
    uint8_t bits[16] = {0}, value[16] = {0};
    for (size_t i = 0; i < size; i++) {
        size_t left = network->length > i * 8 ? network->length - i * 8 : 0;
        bits[i] = (uint8_t)(left >= 8 ? 0xffu : 0xff00u >> left);
        value[i] = (uint8_t)(network->addr.bytes[i] & bits[i]);
    }
    rule_meta(rule, NFT_META_NFPROTO);
    rule_is(rule, &family, sizeof family);
    rule_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, v4 ? 12 : 8, (uint32_t)size);
    mask(rule, bits, size);
    rule_is(rule, value, size);
}

/* --- what is done --- */

void rule_count(struct rule *rule) {
    open_expression(rule, "counter");
    close_expression(rule);
}

void rule_verdict(struct rule *rule, int32_t verdict) {
    open_expression(rule, "immediate");
    put_number(rule, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    struct nlattr *data = nft_nest(rule->message, NFTA_IMMEDIATE_DATA);
    struct nlattr *nest = nft_nest(rule->message, NFTA_DATA_VERDICT);
    put_number(rule, NFTA_VERDICT_CODE, (uint32_t)verdict);
    mnl_attr_nest_end(rule->message, nest);
    mnl_attr_nest_end(rule->message, data);
    close_expression(rule);
}

void rule_masquerade(struct rule *rule) {
    open_expression(rule, "masq");
    close_expression(rule);
}

void rule_notrack(struct rule *rule) {
    open_expression(rule, "notrack");
    close_expression(rule);
}

void rule_queue(struct rule *rule, uint16_t number) {
    open_expression(rule, "queue");
    mnl_attr_put_u16(rule->message, NFTA_QUEUE_NUM, htons(number));
    mnl_attr_put_u16(rule->message, NFTA_QUEUE_FLAGS, htons(NFT_QUEUE_FLAG_BYPASS));
    close_expression(rule);
}
