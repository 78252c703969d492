/* The gateway's private key on its host: server.key, in its folder of state or where its configuration says. */
#pragma once

#include "model/key.h"

#define INIT_STATE_FOLDER "/var/lib/sallyport" /* sallyportd's default */

/* Into a new file server.key of mode 0600; an old one of the same key is fine. 0, or -1 after an error was printed. */
int init_key_write(const struct key *private_key, const char *state_folder);
/* In the place of the one that a gateway has: where `config`, if it is there, says that it is, unless `state_folder`
 * (NULL: not given) says so. The former one stays beside it. Prints what was done. 0, or -1 after an error was printed.
 */
int init_key_replace(const struct key *private_key, const char *config, const char *state_folder);
