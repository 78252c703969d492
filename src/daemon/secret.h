/* Files that only we may read: the gateway's private key, and the folder it lives in. */
#pragma once

#include "model/key.h"
#include "model/problem.h"
#include "model/uuid.h"

/* Makes the folder (0700) if it is missing, and holds its lock until the process ends. -EBUSY: another sallyportd has
 * it. */
int secret_claim_folder(const char *path, struct problem *ret_problem);
/* Reads the key file, or makes one (0600, complete or not at all) if `may_make`. A file that others may read is
 * refused. */
int secret_read_key(const char *path, bool may_make, bool *ret_made, struct key *ret_private_key,
                    struct problem *ret_problem);
/* Who this installation is, whatever it is called: made once, kept in the state folder, and bound to the machine, so
 * that a copy of the folder elsewhere is another one. */
int secret_read_identity(const char *folder, struct uuid *ret_identity, struct problem *ret_problem);
/* A small text file (PEM), the caller's to wipe and free. */
int secret_read_text(const char *path, char **ret_text, struct problem *ret_problem);
