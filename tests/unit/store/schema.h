/* With SALLYPORT_TEST_STORE=postgresql://..., tests run on that server, each in a schema of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Makes an empty schema and writes a URL that names it. False: not asked for, use a file. Exits if the server fails. */
bool schema_url(char *ret_url, size_t room);
/* Removes what `url` names; nothing for a file. */
void schema_drop(const char *url);
/* Runs statements beside the store; exits if they fail. */
void schema_sql(const char *url, const char *sql);
