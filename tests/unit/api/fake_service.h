/* A stand-in for service/: keeps things in arrays, so that the API can be tested alone. Linked instead of the real one.
 */
#pragma once

#include "service/service.h"

/* Forgets everything; well again. */
void fake_reset(void);
/* What the next call that may fail fails with (once). */
void fake_fail_next(enum problem_kind kind, const char *type, const char *field, const char *detail);
/* The store fails so many items into the next bulk call, as fake_fail_next() says. */
void fake_fail_after(size_t items);
void fake_set_health(bool store_ok, bool backend_up);
/* How often a tenant or router was made since the reset. */
unsigned fake_creations(void);
/* A token that is known from now on: its text. */
void fake_add_token(const char *text, enum scope scope, const struct uuid *tenant_id);
/* Creating a router takes so long. */
void fake_set_delay_ms(unsigned ms);
/* How many routers an export has, and after how many of them the store goes away. */
extern _Atomic int64_t fake_exported, fake_exported_broken; /* read by the connections' threads */
/* Adds an event and wakes who waits for it. */
void fake_add_event(const char *kind);
