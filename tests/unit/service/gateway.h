/* A whole service on a database of its own (a file, or with SALLYPORT_TEST_STORE a schema of that PostgreSQL) and the
 * fake data plane, for tests. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_plane.h"
#include "service/service.h"

struct gateway {
    char folder[64];
    char url[512];
    struct service_config config;
    struct service *service;
};

extern const struct caller gateway_admin;

/* cmocka's setup and teardown: *state is a struct gateway. The threads' periods are long: tests call what they test. */
int gateway_setup(void **state);
int gateway_teardown(void **state);
/* The same database again, as a restart of sallyportd. */
void gateway_restart(struct gateway *g);

struct prefix prefix_of(const char *text);
struct ip_addr ip_of(const char *text);
struct tenant make_tenant(struct gateway *g, const char *name, enum addressing addressing, const char *subnet);
/* With a key pair made by the service. */
struct router_made make_router(struct gateway *g, const struct tenant *tenant, const char *name, const char *address);
/* Whether its database is a file of SQLite's. */
bool gateway_is_file(const struct gateway *g);
/* A number that changes with whatever is written of tenants and routers. */
int64_t gateway_writes(struct gateway *g);
/* One number out of the database, by the service's own writer and in its turn. */
int64_t gateway_number(struct gateway *g, const char *sql);
/* Compares and mends; fails the test if that fails. */
void gateway_reconcile(struct gateway *g);
/* Whether the data plane holds exactly what the store says. */
void assert_in_force(struct gateway *g);

#define assert_refused(call, problem, slug, where)                                                                     \
    do {                                                                                                               \
        assert_true((call) < 0);                                                                                       \
        assert_string_equal((problem).type, slug);                                                                     \
        assert_string_equal((problem).field, where);                                                                   \
        assert_true((problem).detail[0] != '\0');                                                                      \
    } while (0)
