#include "schema.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char mark[] = "&options=-csearch_path%3D";

void schema_sql(const char *url, const char *sql) {
    PGconn *pg = PQconnectdb(url);
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(pg));
        exit(99);
    }
    PQclear(result);
    PQfinish(pg);
}

bool schema_url(char *ret_url, size_t room) {
    static unsigned number;
    const char *base = getenv("SALLYPORT_TEST_STORE");
    char sql[96];
    if (!base || strncmp(base, "postgresql:", 11) != 0) {
        return false;
    }
    number++;
    snprintf(sql, sizeof sql, "CREATE SCHEMA test_%d_%u", getpid(), number);
    schema_sql(base, sql);
    snprintf(ret_url, room, "%s%stest_%d_%u", base, mark, getpid(), number);
    return true;
}

void schema_drop(const char *url) {
    const char *name = strstr(url, mark);
    char sql[96];
    if (name) {
        snprintf(sql, sizeof sql, "SET client_min_messages = warning; DROP SCHEMA %s CASCADE", name + strlen(mark));
        schema_sql(url, sql);
    }
}
