/* Reconciliation: a picture of everything mapped is taken first; each peer marks what is right in it, and sets what is
 * not. In the end what nobody marked goes. */
#include <errno.h>
#include <stdlib.h>

#include "backend/isolate/isolate.h"
#include "backend/isolate/types.h"
#include "base/hash.h"

struct mapped {
    struct isolate_prefix prefix;
    struct isolate_owner owner;
    bool right;
};

struct isolate_check {
    struct isolate *isolate;
    struct hash mapped; /* by prefix */
};

static int note(void *context, const struct isolate_prefix *prefix, struct isolate_owner owner) {
    struct isolate_check *check = context;
    struct mapped *mapped = hash_put(&check->mapped, prefix);
    if (!mapped) {
        return -ENOMEM;
    }
    mapped->owner = owner;
    return 0;
}

/* Somebody should have this. */
static int expect(struct isolate_check *check, const struct isolate_prefix *prefix, struct isolate_owner owner,
                  unsigned *touched) {
    struct mapped *mapped = hash_get(&check->mapped, prefix);
    if (mapped) {
        mapped->right = true;
        if (mapped->owner.tenant == owner.tenant && mapped->owner.peer == owner.peer) {
            return 0;
        }
    }
    ++*touched;
    return isolate_hosts_set(&check->isolate->hosts, prefix, owner);
}

static int expect_hub(struct isolate_check *check, unsigned *touched) {
    struct isolate_hub hub;
    int error = isolate_hub_get(check->isolate, &hub);
    for (uint32_t i = 0; !error && i < hub.count; i++) {
        struct isolate_prefix address = isolate_hub_address(&hub, i), pool = isolate_hub_pool(&hub, i);
        error = expect(check, &address, (struct isolate_owner){.tenant = ISOLATE_HUB}, touched);
        if (!error && !isolate_prefix_is_host(&pool)) {
            error = expect(check, &pool, (struct isolate_owner){.tenant = ISOLATE_POOL}, touched);
        }
    }
    return error;
}

static void check_free(struct isolate_check *check) {
    if (check) {
        hash_free(&check->mapped);
        free(check);
    }
}

int isolate_check_begin(struct isolate *isolate, struct isolate_check **ret_check) {
    struct isolate_check *check = calloc(1, sizeof *check);
    if (!check) {
        return -ENOMEM;
    }
    check->isolate = isolate;
    hash_open(&check->mapped, sizeof(struct isolate_prefix), sizeof(struct mapped));
    int error = isolate_hosts_flush(&isolate->hosts);
    error = error ? error : isolate_hosts_each(&isolate->hosts, note, check);
    if (error) {
        check_free(check);
        return error;
    }
    *ret_check = check;
    return 0;
}

int isolate_check_peer(struct isolate_check *check, const struct desired_peer *peer, unsigned *ret_touched) {
    struct isolate_claim claim;
    int error = isolate_claim_of(check->isolate, peer, &claim);
    for (uint32_t i = 0; i < claim.count && !error; i++) {
        error = expect(check, &claim.prefixes[i], claim.owner, ret_touched);
    }
    return error;
}

static int sweep(struct isolate_check *check, unsigned *touched) {
    int error = 0;
    size_t at = 0;
    for (const struct mapped *mapped; !error && (mapped = hash_each(&check->mapped, &at));) {
        bool removed = false;
        if (!mapped->right) {
            error = isolate_hosts_remove(&check->isolate->hosts, &mapped->prefix, mapped->owner, &removed);
            *touched += removed;
        }
    }
    return error;
}

int isolate_check_end(struct isolate_check *check, bool complete, unsigned *ret_touched) {
    if (!check) {
        return 0;
    }
    int error = expect_hub(check, ret_touched);
    error = error ? error : isolate_hosts_flush(&check->isolate->hosts);
    if (!error && complete) {
        error = sweep(check, ret_touched);
    }
    check_free(check);
    return error;
}
