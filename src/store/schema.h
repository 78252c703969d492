/* Which schema this program knows and which one a database has. The steps between are in migrations.c. Internal to
 * store/. */
#pragma once

#include "model/problem.h"

struct store_conn;

#define SCHEMA_VERSION 3 /* the newest step of migrations.c */

/* How far the database is. -EIO: it has no schema yet. */
int schema_reached(struct store_conn *conn, int *ret_version);
/* Whether the schema is still one that we know, whoever migrated it meanwhile. -EOVERFLOW: it is a newer one. */
int schema_check(struct store_conn *conn);
/* Says that the database is further than this program knows. */
int schema_newer(const char *where, int version, struct problem *ret_problem);
