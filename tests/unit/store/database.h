/* A database of its own for each test: a file, or with SALLYPORT_TEST_STORE a schema of that PostgreSQL. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/noun/routers.h"
#include "store/noun/tenants.h"
#include "store/store.h"

struct database {
    char folder[64];
    char file[96];
    char url[512];
    struct store *store;
    struct store_conn *conn; /* the writer, in no transaction */
};

extern const struct gateway_columns database_gateway;

/* cmocka's setup and teardown: *state is a struct database. */
int database_setup(void **state);
int database_teardown(void **state);

struct prefix prefix_of(const char *text);
struct ip_addr ip_of(const char *text);
struct uuid uuid_of(unsigned number);
struct key key_of(unsigned number);
/* Rows with plausible columns, all made from one number; inserted. */
struct tenant_row add_tenant(struct database *d, unsigned number, enum addressing addressing);
struct router_row add_router(struct database *d, const struct tenant_row *tenant, unsigned number);
