/* The schema's history: numbered steps, each in one transaction. Internal to store/. */
#pragma once

#include "model/problem.h"

struct store_conn;

/* How far the schema is. -EIO: there is none yet. */
int migrations_reached(struct store_conn *conn, int *ret_version);
/* That it is further than this program knows. */
int migrations_newer(const char *where, int version, struct problem *ret_problem);
/* Brings the database from whatever version it has to the newest. Refuses one that is newer than this program. */
int migrations_run(struct store_conn *conn, struct problem *ret_problem);
