/* What came, or would come, of adopting a server's peers: the lines for people, and what to do about each conflict. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/import/wgconf.h"

struct plan {
    const json_t *answer;      /* of POST /v1/adoption */
    const struct wgconf *conf; /* where the peers come from; NULL: a live interface */
    const char *file_name;
};

/* Whether there are conflicts, and they leave some peers to import. */
bool plan_leaves_some(const struct plan *plan);
/* One line per peer, and the counts. To stdout. */
void plan_print(const struct plan *plan);
/* The conflicts alone. To stderr. */
void plan_print_conflicts(const struct plan *plan);
void plan_print_counts(const struct plan *plan);
/* A line for each kind of conflict. To stderr. */
void plan_print_advice(const struct plan *plan);
