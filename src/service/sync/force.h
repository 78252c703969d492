/* A commit comes into force: the way from its receipt into the data plane.
 *
 * What others committed before it comes first, so that the data plane sees changes in the order of revisions. */
#pragma once

struct follow;
struct ledger;
struct plane;
struct receipt;

/* All borrowed; immutable once open. */
struct force {
    struct plane *plane;
    struct ledger *ledger;
    struct follow *follow;
};

/* Waits for the commit's turn and catches up with others. Within it, plane_apply() and its like; then force_end(). Due
 * once for each receipt, from any thread. */
void force_begin(const struct force *force, const struct receipt *receipt);
void force_end(const struct force *force);
