/* What a round takes in besides the sockets: packets from the host, and parcels from other workers. One worker. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct worker;

/* Reads a bounded number of packets from the TUN and forwards them. How many; -EBADFD: the interface was deleted. */
ssize_t intake_host(struct worker *worker);
/* Takes a bounded number of each kind from all rings together, callers first. True if there are more. */
bool intake_parcels(struct worker *worker);
bool intake_pending(const struct worker *worker);
