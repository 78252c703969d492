/* Facts about the whole installation, by name. */
#pragma once

#include <stddef.h>

struct store_conn;

/* -ENOENT: never set. Cut to `room`. */
int settings_get(struct store_conn *conn, const char *name, char *ret_value, size_t room);
int settings_set(struct store_conn *conn, const char *name, const char *value);
