/* Writing whole files. The bytes go under a passing name in the same folder first, and onto the disk, so nobody ever
 * reads half of them, also after a power cut. The file has exactly `mode`, whatever the umask. 0, or -errno; on failure
 * what was there before is untouched, and nothing new stays. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* -EEXIST: there is one already; it is never replaced. */
int file_create(const char *path, mode_t mode, const void *bytes, size_t size);
/* Replaces the one that is there, if any. */
int file_replace(const char *path, mode_t mode, const void *bytes, size_t size);
