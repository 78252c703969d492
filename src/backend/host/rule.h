/* Writes a rule of nf_tables, expression by expression, into a message of nft.h. What an expression loads, the next one
 * compares; the rule ends where a comparison fails.
 *
 *     rule_begin(nft, &rule, table, "input", "why it is there");
 *     rule_meta(&rule, NFT_META_IIFNAME);
 *     rule_is_name(&rule, "wg0");
 *     rule_verdict(&rule, NF_DROP);
 *     rule_end(&rule);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nft;
struct nlattr;
struct nlmsghdr;
struct prefix;

struct rule {
    struct nlmsghdr *message;
    struct nlattr *expressions, *expression, *data;
};

/* At the end of the chain, in a table of family inet. `comment` (at most 127 characters; NULL: none) is shown by
 * `nft list ruleset`. */
void rule_begin(struct nft *nft, struct rule *rule, const char *table, const char *chain, const char *comment);
void rule_end(struct rule *rule);

/* --- what is looked at --- */

void rule_meta(struct rule *rule, uint32_t key);                                     /* NFT_META_... */
void rule_payload(struct rule *rule, uint32_t base, uint32_t offset, uint32_t size); /* NFT_PAYLOAD_..._HEADER */
void rule_fib_interface_of_source(struct rule *rule); /* the name of the one towards the packet's source */

/* --- what it must be --- */

void rule_is(struct rule *rule, const void *value, size_t size);
void rule_is_not(struct rule *rule, const void *value, size_t size);
void rule_is_name(struct rule *rule, const char *interface_name);
void rule_is_not_name(struct rule *rule, const char *interface_name);
/* It is for this host itself. */
void rule_fib_destination_is_local(struct rule *rule);
/* UDP from or to a port; later fragments are neither. */
void rule_udp_source(struct rule *rule, uint16_t port);
void rule_udp_destination(struct rule *rule, uint16_t port);
/* The packet's source lies in the network of a prefix, whose host bits do not count. */
void rule_source_in(struct rule *rule, const struct prefix *network);

/* --- what is done --- */

void rule_count(struct rule *rule);
void rule_verdict(struct rule *rule, int32_t verdict); /* NF_DROP, NF_ACCEPT */
void rule_masquerade(struct rule *rule);
void rule_notrack(struct rule *rule);
/* Into an NFQUEUE; past it if nobody is there. */
void rule_queue(struct rule *rule, uint16_t number);
