/* The schema's history: numbered steps, each in one transaction. Internal to store/. */
#pragma once

#include "model/problem.h"

struct store_conn;

/* Brings the database from whatever version it has to the newest. Refuses one that is newer than this program. */
int migrations_run(struct store_conn *conn, struct problem *ret_problem);
