/* The service's threads. Their names are what `ps -T` shows. */
#pragma once

#include <stdbool.h>

struct keeper;
struct service;

/* Starts them; all else of the service is open. -errno: some may run, and keeper_stop() is due all the same. */
int keeper_start(struct service *s);
/* Ends them: usage is written a last time. Accepts a service whose threads were never started. */
void keeper_stop(struct service *s);
/* Deletes what is past its time: kept answers, old changes. */
void keeper_sweep(struct service *s);
/* What the usage thread does every few seconds: takes counters over and writes what is due. */
int keeper_flush_usage(struct service *s, bool everything);
