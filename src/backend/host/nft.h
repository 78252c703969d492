/* A conversation with nf_tables: changes in one transaction, and questions.
 *
 * Messages are written with libmnl behind what nft_add() returns; rule.h writes the expressions of rules. A table with
 * NFT_TABLE_F_OWNER that is made here lives as long as the conversation. One thread at a time. Errors: -errno as the
 * kernel gives them; -EOPNOTSUPP: this kernel has no nf_tables; -EPERM: no CAP_NET_ADMIN. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "backend/attributes.h"

struct nft;

int nft_open(struct nft **ret_nft);
/* What was added and not committed is forgotten. Accepts NULL. */
void nft_close(struct nft *nft);

/* --- a transaction --- */

void nft_begin(struct nft *nft);
/* One more message, complete when the next begins: `type` is NFT_MSG_NEWTABLE, ...; `flags` NLM_F_CREATE, .... */
struct nlmsghdr *nft_add(struct nft *nft, uint16_t type, uint8_t family, uint16_t flags);
/* The messages added so far, in their order, as they will be sent. NULL in the first place: from the beginning. NULL
 * returned: no more. */
const struct nlmsghdr *nft_added(const struct nft *nft, const struct nlmsghdr *after);
/* All of it is in force, or nothing. -EMSGSIZE: more was added than fits. */
int nft_commit(struct nft *nft);

/* A container attribute without the flag that says so, which nf_tables neither asks for nor shows. */
struct nlattr *nft_nest(struct nlmsghdr *message, uint16_t type);

/* --- questions --- */

/* A message to be completed and handed to nft_ask(). With `dump` the answer is all there is. Ends a transaction. */
struct nlmsghdr *nft_question(struct nft *nft, uint16_t type, uint8_t family, bool dump);
/* `fn` is called for each message of the answer, and returns MNL_CB_OK or MNL_CB_ERROR with errno. -EINTR: it changed
 * meanwhile, and what was told does not belong together. -ENOENT: there is no such thing. */
int nft_ask(struct nft *nft, mnl_cb_t fn, void *context);

/* The number of the rule set's generation: changes with every transaction. */
int nft_generation(struct nft *nft, uint32_t *ret_generation);

/* --- attributes --- */

struct attributes nft_attributes_of(const struct nlmsghdr *message);
/* In host order. 0: there is none, or it is no number. */
uint32_t nft_u32(const struct nlattr *attribute);
