/* iptables-legacy's rules, as the kernel hands them out. */
#include <netinet/in.h>

#include <linux/netfilter_ipv4/ip_tables.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/doctor/firewall.h"

#define ACCEPTS (-NF_ACCEPT - 1)
#define DROPS (-NF_DROP - 1)
#define ROOM 8192

/* A filter table that grows entry by entry. */
static struct doctor_legacy *table;

struct rule {
    const char *in, *out; /* interfaces; NULL: any */
    uint16_t proto;
    const char *match; /* NULL: none */
    uint16_t from, to; /* of match "udp" */
    int verdict;
};

static uint32_t put(const struct rule *rule) {
    uint32_t at = table->size;
    struct ipt_entry *entry = (void *)(table->entries + at);
    size_t match_size = XT_ALIGN(sizeof(struct xt_entry_match) + sizeof(struct xt_udp));
    size_t size = sizeof *entry + (rule->match ? match_size : 0);
    assert_true(at + size + sizeof(struct xt_standard_target) < ROOM);
    entry->ip.proto = rule->proto;
    if (rule->in) {
        strcpy(entry->ip.iniface, rule->in);
        memset(entry->ip.iniface_mask, 0xff, strlen(rule->in) + 1);
    }
    if (rule->out) {
        strcpy(entry->ip.outiface, rule->out);
        memset(entry->ip.outiface_mask, 0xff, strlen(rule->out) + 1);
    }
    if (rule->match) {
        struct xt_entry_match *match = (void *)entry->elems;
        struct xt_udp *udp = (void *)match->data;
        match->u.match_size = (uint16_t)match_size;
        strcpy(match->u.user.name, rule->match);
        *udp = (struct xt_udp){.spts = {0, 65535}, .dpts = {rule->from, rule->to}};
    }
    entry->target_offset = (uint16_t)size;
    struct xt_standard_target *target = (void *)((char *)entry + size);
    target->target.u.target_size = sizeof *target;
    target->verdict = rule->verdict;
    entry->next_offset = (uint16_t)(size + sizeof *target);
    table->size += entry->next_offset;
    return at;
}

/* INPUT with one rule (or none) and its policy, FORWARD likewise, OUTPUT, and the end mark. */
static void make(const struct rule *input, int input_policy, const struct rule *forward, int forward_policy) {
    free(table);
    table = calloc(1, sizeof *table + ROOM);
    assert_non_null(table);
    table->input = table->size;
    if (input) {
        put(input);
    }
    table->input_policy = put(&(struct rule){.verdict = input_policy});
    table->forward = table->size;
    if (forward) {
        put(forward);
    }
    table->forward_policy = put(&(struct rule){.verdict = forward_policy});
    put(&(struct rule){.verdict = ACCEPTS}); /* OUTPUT's policy */
    put(&(struct rule){.verdict = DROPS});   /* stands for the error target at the end */
}

static int teardown(void **state) {
    (void)state;
    free(table);
    table = NULL;
    return 0;
}

static void a_policy_alone_decides(void **state) {
    (void)state;
    make(NULL, ACCEPTS, NULL, ACCEPTS);
    assert_int_equal(doctor_legacy_input(table, 51820), DOCTOR_OPEN);
    assert_int_equal(doctor_legacy_forward(table, "wg0"), DOCTOR_OPEN);
    make(NULL, DROPS, NULL, DROPS);
    assert_int_equal(doctor_legacy_input(table, 51820), DOCTOR_CLOSED);
    assert_int_equal(doctor_legacy_forward(table, "wg0"), DOCTOR_CLOSED);
}

static void a_rule_for_the_port_opens_and_others_do_not(void **state) {
    static const struct {
        struct rule rule;
        enum doctor_passage passage;
    } cases[] = {
        {{.proto = IPPROTO_UDP, .match = "udp", .from = 51820, .to = 51820, .verdict = ACCEPTS}, DOCTOR_OPEN},
        {{.proto = IPPROTO_UDP, .match = "udp", .from = 50000, .to = 60000, .verdict = ACCEPTS}, DOCTOR_OPEN},
        {{.proto = IPPROTO_UDP, .match = "udp", .from = 53, .to = 53, .verdict = ACCEPTS}, DOCTOR_CLOSED},
        {{.proto = IPPROTO_UDP, .match = "multiport", .verdict = ACCEPTS}, DOCTOR_UNKNOWN},
        {{.match = "conntrack", .verdict = ACCEPTS}, DOCTOR_CLOSED},
        {{.proto = IPPROTO_TCP, .verdict = ACCEPTS}, DOCTOR_CLOSED},
        {{.in = "lo", .verdict = ACCEPTS}, DOCTOR_CLOSED},
        {{.in = "eth0", .verdict = ACCEPTS}, DOCTOR_UNKNOWN},
        {{.proto = IPPROTO_UDP, .verdict = ACCEPTS}, DOCTOR_OPEN},
        {{.verdict = ACCEPTS}, DOCTOR_OPEN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(&cases[i].rule, DROPS, NULL, ACCEPTS);
        if (doctor_legacy_input(table, 51820) != cases[i].passage) {
            fail_msg("case %zu: %d", i, doctor_legacy_input(table, 51820));
        }
    }
    make(&(struct rule){.proto = IPPROTO_UDP, .match = "udp", .from = 51820, .to = 51820, .verdict = DROPS}, ACCEPTS,
         NULL, ACCEPTS);
    assert_int_equal(doctor_legacy_input(table, 51820), DOCTOR_CLOSED);
}

static void the_rules_of_one_chain_open_no_other(void **state) {
    (void)state;
    make(&(struct rule){.in = "eth0", .verdict = ACCEPTS}, DROPS, NULL, DROPS);
    assert_int_equal(doctor_legacy_forward(table, "wg0"), DOCTOR_CLOSED);
    make(NULL, DROPS, &(struct rule){.proto = IPPROTO_UDP, .verdict = ACCEPTS}, DROPS);
    assert_int_equal(doctor_legacy_input(table, 51820), DOCTOR_CLOSED);
}

static void forwarding_is_read_by_interface(void **state) {
    (void)state;
    make(NULL, ACCEPTS, &(struct rule){.in = "wg1", .out = "wg1", .verdict = ACCEPTS}, DROPS);
    assert_int_equal(doctor_legacy_forward(table, "wg0"), DOCTOR_CLOSED);
    make(NULL, ACCEPTS, &(struct rule){.in = "wg0", .verdict = ACCEPTS}, DROPS);
    assert_int_equal(doctor_legacy_forward(table, "wg0"), DOCTOR_UNKNOWN); /* and towards it? */
    make(NULL, ACCEPTS, &(struct rule){.verdict = ACCEPTS}, DROPS);
    assert_int_equal(doctor_legacy_forward(table, "wg0"), DOCTOR_OPEN);
}

static void a_broken_table_is_not_followed(void **state) {
    (void)state;
    make(NULL, DROPS, NULL, DROPS);
    struct ipt_entry *entry = (void *)table->entries;
    entry->next_offset = 0;
    assert_int_equal(doctor_legacy_input(table, 51820), DOCTOR_UNKNOWN);
    entry->next_offset = 60000;
    assert_int_equal(doctor_legacy_input(table, 51820), DOCTOR_UNKNOWN);
    table->input_policy = 70000;
    assert_int_equal(doctor_legacy_input(table, 51820), DOCTOR_UNKNOWN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_policy_alone_decides, teardown),
        cmocka_unit_test_teardown(a_rule_for_the_port_opens_and_others_do_not, teardown),
        cmocka_unit_test_teardown(the_rules_of_one_chain_open_no_other, teardown),
        cmocka_unit_test_teardown(forwarding_is_read_by_interface, teardown),
        cmocka_unit_test_teardown(a_broken_table_is_not_followed, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
