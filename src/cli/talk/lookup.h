/* Tenants and routers by what people call them: a UUID, a name that is unique, TENANT/ROUTER. */
#pragma once

#include <jansson.h>

#include "model/uuid.h"

struct cli;

/* Each: 0 with the UUID, or -1 after an error was printed that says which names there are or how to be exact. */
int lookup_tenant(struct cli *cli, const char *text, char ret_id[UUID_TEXT_SIZE]);
int lookup_router(struct cli *cli, const char *text, char ret_id[UUID_TEXT_SIZE]);
int lookup_token(struct cli *cli, const char *text, char ret_id[UUID_TEXT_SIZE]);

/* A tenant's name for a table, "" if it cannot be had. Remembers. */
const char *lookup_tenant_name(struct cli *cli, const char *id);
/* Fetches all names at once if the items, by their "tenant_id", would need many single requests. */
void lookup_tenant_names_ahead(struct cli *cli, const json_t *items);
struct lookup_names;
void lookup_names_free(struct lookup_names *names); /* accepts NULL */
