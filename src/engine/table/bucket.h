/* A token bucket as a pure function of an injected clock: bits, packets or handshakes per second.
 *
 * Exact at any rate: the level is kept in billionths of a token, so a nanosecond at `per_s` tokens a second adds
 * `per_s` of them and nothing is ever rounded away. The rate is not stored (a tenant's limits may change): it comes
 * with each call. A zeroed bucket is full as soon as the clock is past the time it takes to fill; bucket_fill() makes
 * it full now. A clock that runs backwards adds nothing. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    int64_t level;  /* billionths of a token; negative: borrowed */
    uint64_t at_ns; /* of the level */
};

struct bucket_rate {
    uint64_t per_s; /* tokens */
    uint64_t burst; /* tokens the bucket holds; above 2^33 counts as 2^33 */
};

_Static_assert(sizeof(struct bucket) == 16, "one of them sits in every tenant and in every limiter entry");

void bucket_fill(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns);
/* Takes `cost` tokens if they are all there. A cost above the burst never is. */
bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns, uint64_t cost);
/* Takes `cost` tokens if there is at least one, and may go below zero: for policing packets of any size (a 64 KB
 * segment against a small burst) at an exact average. */
bool bucket_borrow(struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns, uint64_t cost);
/* Gives back what was taken for a packet that was dropped after all; never above the burst. */
void bucket_return(struct bucket *bucket, const struct bucket_rate *rate, uint64_t cost);
