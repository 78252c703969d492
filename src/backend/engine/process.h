/* The engine's process: starting sallyport-wg so that it outlives whoever starts it, and what /proc tells of it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct backend_config;

#define PROCESS_PATIENCE_MS 5000

/* Runs the engine's program (a vector of arguments, no shell) in a session of its own and waits until it says that it
 * is ready: it detaches by itself and its first process ends with 0. -ENOENT, -EACCES, ...: it could not be run; -EIO:
 * it failed, `fault` has its last log line if it logs to a file; -ETIMEDOUT: still not ready after PROCESS_PATIENCE_MS,
 * and ended. */
int process_start_engine(const struct backend_config *config, char *fault, size_t fault_size);

/* A number that no other process has had since boot: made of the process's number and the time it started. Never 0. */
uint64_t process_generation(pid_t pid);
/* Resident memory. 0: unknown. */
uint64_t process_resident_bytes(pid_t pid);
