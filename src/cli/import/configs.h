/* Configurations with keys that the gateway shows once: a file for each router, in a folder.
 *
 * A file is named for its router, by a name that wg-quick, Android, Windows and NetworkManager take as an interface's:
 * at most 15 small letters, digits, "-" and "_". It is whole or it is not there, and it is never replaced: what holds
 * the same router's key is from an earlier run, and a router whose name is taken by another's file gets "name-2". */
#pragma once

#include <jansson.h>

#define CONFIGS_NAME_SIZE 16 /* 15 characters, and NUL */

/* `router` as the API answers it. 1: there, from an earlier run; 0: written; -EBADMSG: written, but the gateway could
 * give no whole configuration: the file has the keys and addresses; else -errno, after an error was printed. */
int configs_write(const char *folder, const json_t *router);
/* The `number`th name to try for a router, from 1. */
void configs_name(const char *router_name, const char *id, unsigned number, char ret_name[CONFIGS_NAME_SIZE]);
