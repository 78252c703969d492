/* Usage's own state, shared by usage.c (what is seen) and usage_write.c (what is written). */
#pragma once

#include <pthread.h>

#include "service/usage/live.h"

struct service;

struct usage {
    pthread_mutex_t flush_mutex; /* one flush at a time, and what only it touches: */
    uint64_t since;              /* the data plane's mark of the last reading */
    uint64_t generation;
    size_t cursor;         /* in the table: who is looked at next for a write that has time */
    uint64_t looked_ns;    /* when the whole table was last looked through */
    double allowance;      /* writes that have time, saved up */
    pthread_mutex_t mutex; /* all that follows */
    pthread_cond_t told;
    struct lives lives;
    bool loaded;       /* what the rows say of our sessions is known */
    uint64_t held;     /* until then: how many they are */
    uint64_t restarts; /* how often peers left the data plane, whose counters may come back from zero */
    uint64_t writes;   /* how often rows took over what was unwritten */
    bool telling;      /* a transaction with such rows is on its way */
};

/* Writes what is due, or everything. `rate`: how many rows that have time may be written a second. */
int usage_write(struct service *s, bool everything, const char *generation, double rate, int64_t now);
