/* Whether the database can be reached, as last heard; never waits for it, so any thread may ask.
 *
 *   waiting -- it answers, and it is ours --> ready <--> away (what was lost is opened again by whoever needs it) */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct store;
struct reach;
struct problem;

#define REACH_TROUBLE_SIZE 256

/* Nothing is known yet. `store` must outlive it. -ENOMEM. */
int reach_open(struct store *store, struct reach **ret_reach);
void reach_free(struct reach *reach); /* accepts NULL */
/* Whether the database was reached and found to be the right one. From then on it is so. */
bool reach_is_ready(const struct reach *reach);
/* How settling it went (attach.c). NULL: it is the right one; else what is wrong, and whether waiting is of no use. */
void reach_settled(struct reach *reach, const struct problem *problem, bool refused);
/* Asks the database whether it is there: this thread waits for it, so that no other must. */
void reach_look(struct reach *reach);
/* Whether it answered lately. `ret_trouble` (may be NULL): in its words why not. */
bool reach_is_there(struct reach *reach, char ret_trouble[REACH_TROUBLE_SIZE]);
/* Whether it answers but is not ours. */
bool reach_is_refused(struct reach *reach);
/* It answered just now; and how long ago that was. */
void reach_heard(struct reach *reach);
uint64_t reach_silence_ns(struct reach *reach);

/* Whether something failed only because the database is away, or outgrew this program. */
bool reach_is_lacking(const struct problem *problem);
/* Whether it may succeed when it is tried again: the database is away, or others of a shared one hold it up. */
bool reach_may_come(const struct reach *reach, const struct problem *problem);
