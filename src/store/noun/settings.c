#include "store/noun/settings.h"

#include <errno.h>

#include "store/store.h"

int settings_get(struct store_conn *conn, const char *name, char *ret_value, size_t room) {
    const struct value values[] = {value_text(name)};
    struct query query;
    int r = query_first(conn, "SELECT value FROM vpn_settings WHERE name = $1", values, VALUE_COUNT(values), &query);
    if (r == 0) {
        query_copy(&query, 0, ret_value, room);
        query_end(&query);
    }
    return r;
}

int settings_set(struct store_conn *conn, const char *name, const char *value) {
    const struct value values[] = {value_text(name), value_text(value)};
    return query_run(conn,
                     "INSERT INTO vpn_settings (name, value) VALUES ($1, $2) "
                     "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                     values, VALUE_COUNT(values), NULL);
}
