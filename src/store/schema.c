#include "store/schema.h"

#include <errno.h>

#include "store/conn.h"
#include "store/store.h"

int store_schema_version(void) {
    return SCHEMA_VERSION;
}

int schema_reached(struct store_conn *conn, int *ret_version) {
    int64_t version = 0;
    int r = query_number(conn, "SELECT COALESCE(MAX(version), 0) FROM vpn_migrations", NULL, 0, &version);
    if (r == 0) {
        *ret_version = (int)version;
    }
    return r;
}

int schema_newer(const char *where, int version, struct problem *ret_problem) {
    return problem_set(
        ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_NEWER, NULL,
        "The database %s is that of a newer Sallyport (schema %d, this one knows %d), and is neither read "
        "nor written. Install that version here too, or put back a backup from before its upgrade.",
        where, version, SCHEMA_VERSION);
}

int schema_check(struct store_conn *conn) {
    int version = 0;
    int r = schema_reached(conn, &version);
    if (r < 0) {
        return r;
    }
    *conn->schema = version;
    return version > SCHEMA_VERSION ? -EOVERFLOW : 0;
}
