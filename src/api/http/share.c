#include "api/http/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define SHARES_KEPT 1024 /* that no request holds */
#define BURST_S 10       /* a bucket holds the writes of so many seconds */
#define POLLS_OF_ALL 128 /* half the connections */
#define REQUESTS 192     /* of one caller of the operator's */
#define REQUESTS_TENANT 32
#define WRITERS_TENANT 2 /* the writing turn goes round by requests: so the others wait for this many */

void shares_open(struct shares *shares, unsigned writes_per_s, size_t memory) {
    *shares = (struct shares){.writes_per_s = writes_per_s, .memory = {.limit = memory}};
    pthread_mutex_init(&shares->mutex, NULL);
    TAILQ_INIT(&shares->list);
}

static void forget(struct shares *shares, struct share *share) {
    TAILQ_REMOVE(&shares->list, share, link);
    shares->count--;
    pthread_cond_destroy(&share->writer);
    free(share);
}

void shares_close(struct shares *shares) {
    struct share *share;
    while ((share = TAILQ_FIRST(&shares->list))) {
        forget(shares, share);
    }
    pthread_mutex_destroy(&shares->mutex);
}

static bool is_tenants(enum scope scope) {
    return scope == SCOPE_TENANT_READ || scope == SCOPE_TENANT_WRITE;
}

static struct share *find(struct shares *shares, const struct caller *caller) {
    struct share *share;
    bool limited = is_tenants(caller->scope);
    const struct uuid *who = limited ? &caller->tenant_id : &caller->token_id;
    TAILQ_FOREACH (share, &shares->list, link) {
        if (share->limited == limited && uuid_equal(&share->who, who) &&
            (limited || (share->scope == caller->scope && strcmp(share->actor, caller->actor) == 0))) {
            return share;
        }
    }
    return NULL;
}

/* Makes room among those that nobody holds, the longest unused first. */
static void tidy(struct shares *shares) {
    struct share *share = TAILQ_LAST(&shares->list, share_list);
    while (share && shares->count > SHARES_KEPT) {
        struct share *before = TAILQ_PREV(share, share_list, link);
        if (share->requests == 0) {
            forget(shares, share);
        }
        share = before;
    }
}

static struct share *make(struct shares *shares, const struct caller *caller) {
    struct share *share = calloc(1, sizeof *share);
    if (!share) {
        return NULL;
    }
    share->scope = caller->scope;
    share->limited = is_tenants(caller->scope);
    share->who = share->limited ? caller->tenant_id : caller->token_id;
    snprintf(share->actor, sizeof share->actor, "%s", caller->actor);
    share->memory.limit = share->limited ? shares->memory.limit / 4 * 3 : shares->memory.limit;
    share->writes = (double)shares->writes_per_s * BURST_S;
    share->refilled_ns = clock_mono_ns();
    pthread_cond_init(&share->writer, NULL);
    TAILQ_INSERT_HEAD(&shares->list, share, link);
    shares->count++;
    tidy(shares);
    return share;
}

struct share *share_enter(struct shares *shares, const struct caller *caller) {
    pthread_mutex_lock(&shares->mutex);
    struct share *share = find(shares, caller);
    if (share) {
        TAILQ_REMOVE(&shares->list, share, link);
        TAILQ_INSERT_HEAD(&shares->list, share, link);
    } else {
        share = make(shares, caller);
    }
    if (share && share->requests >= (share->limited ? REQUESTS_TENANT : REQUESTS)) {
        share = NULL;
    }
    if (share) {
        share->requests++;
    }
    pthread_mutex_unlock(&shares->mutex);
    return share;
}

void share_leave(struct shares *shares, struct share *share) {
    pthread_mutex_lock(&shares->mutex);
    share->requests--;
    pthread_mutex_unlock(&shares->mutex);
}

bool share_poll_begin(struct shares *shares, struct share *share) {
    pthread_mutex_lock(&shares->mutex);
    bool may = share->polls < SHARE_POLLS && shares->polls < POLLS_OF_ALL;
    share->polls += may;
    shares->polls += may;
    pthread_mutex_unlock(&shares->mutex);
    return may;
}

void share_poll_end(struct shares *shares, struct share *share) {
    pthread_mutex_lock(&shares->mutex);
    share->polls--;
    shares->polls--;
    pthread_mutex_unlock(&shares->mutex);
}

unsigned share_spend(struct shares *shares, struct share *share) {
    unsigned wait_s = 0;
    if (!share->limited || !shares->writes_per_s) {
        return 0;
    }
    pthread_mutex_lock(&shares->mutex);
    uint64_t now = clock_mono_ns();
    double most = (double)shares->writes_per_s * BURST_S;
    share->writes += (double)(now - share->refilled_ns) / (double)NSEC_PER_SEC * shares->writes_per_s;
    share->writes = share->writes < most ? share->writes : most;
    share->refilled_ns = now;
    if (share->writes >= 1) {
        share->writes -= 1;
    } else {
        wait_s = 1 + (unsigned)((1 - share->writes) / shares->writes_per_s);
    }
    pthread_mutex_unlock(&shares->mutex);
    return wait_s;
}

void share_write_begin(struct shares *shares, struct share *share) {
    pthread_mutex_lock(&shares->mutex);
    while (share->limited && share->writers >= WRITERS_TENANT) {
        pthread_cond_wait(&share->writer, &shares->mutex);
    }
    share->writers++;
    pthread_mutex_unlock(&shares->mutex);
}

void share_write_end(struct shares *shares, struct share *share) {
    pthread_mutex_lock(&shares->mutex);
    share->writers--;
    pthread_cond_signal(&share->writer);
    pthread_mutex_unlock(&shares->mutex);
}
