#include "engine/table/bucket.h"

#define UNITS INT64_C(1000000000)      /* a token in billionths */
#define TOKENS_MAX (UINT64_C(1) << 33) /* so that a level fits 63 bits */

static int64_t full(const struct bucket_rate *rate) {
    return (int64_t)(rate->burst < TOKENS_MAX ? rate->burst : TOKENS_MAX) * UNITS;
}

static void refill(struct bucket *b, const struct bucket_rate *rate, uint64_t now_ns) {
    if (now_ns <= b->at_ns) {
        return;
    }
    int64_t most = full(rate);
    unsigned __int128 gained = (unsigned __int128)(now_ns - b->at_ns) * rate->per_s;
    b->at_ns = now_ns;
    /* a lowered limit cuts the level too */
    if (b->level >= most || gained >= (unsigned __int128)((__int128)most - b->level)) {
        b->level = most;
    } else {
        b->level += (int64_t)gained;
    }
}

void bucket_fill(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns) {
    bucket->level = full(rate);
    bucket->at_ns = now_ns;
}

bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns, uint64_t cost) {
    refill(bucket, rate, now_ns);
    if (cost > TOKENS_MAX || bucket->level < (int64_t)cost * UNITS) {
        return false;
    }
    bucket->level -= (int64_t)cost * UNITS;
    return true;
}

bool bucket_borrow(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns, uint64_t cost) {
    refill(bucket, rate, now_ns);
    if (bucket->level < UNITS) {
        return false;
    }
    bucket->level -= (int64_t)(cost < TOKENS_MAX ? cost : TOKENS_MAX) * UNITS;
    return true;
}

void bucket_return(struct bucket *bucket, const struct bucket_rate *rate, uint64_t cost) {
    int64_t most = full(rate);
    int64_t given = (int64_t)(cost < TOKENS_MAX ? cost : TOKENS_MAX) * UNITS;
    bucket->level = most - bucket->level < given ? most : bucket->level + given;
}
