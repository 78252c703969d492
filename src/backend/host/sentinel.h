/* Notices when somebody touches what the kernel backend keeps: the interface, its addresses, its programs (rtnetlink),
 * our nftables table (nfnetlink). WireGuard itself tells nobody of its changes: those are found by comparing dumps, and
 * whoever finds one rings.
 *
 * Any thread. Our own changes are heard too: settle before a round of work that is expected to change nothing, and what
 * comes afterwards is somebody else's. */
#pragma once

#include <stdbool.h>

struct sentinel;

/* Whether this kernel has nftables at all. 0, -EOPNOTSUPP, or -errno. */
int sentinel_usable(void);

/* `fence_table`: the name of our nftables table. */
int sentinel_open(const char *fence_table, struct sentinel **ret_sentinel);
/* Accepts NULL. */
void sentinel_free(struct sentinel *sentinel);

/* The interface to watch, by its number; 0: none. Accepts NULL. */
void sentinel_watch(struct sentinel *sentinel, unsigned ifindex);
/* Reads what has come, without waiting. True: it concerns us, or so much came that some was lost. */
bool sentinel_heed(struct sentinel *sentinel);
/* Reads what has come, whatever it is. */
void sentinel_settle(struct sentinel *sentinel);
/* Something of ours was found altered: the next sentinel_heed() says so. */
void sentinel_ring(struct sentinel *sentinel);
