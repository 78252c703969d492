/* Engines for the backend to talk to, each in a process of its own, on a socket in a directory of its own. */
#pragma once

#include <sys/types.h>

/* Makes a directory and points SALLYPORT_WG_DIR at it. */
void fake_server_directory_make(char path[64]);
/* Removes it, with what killed servers left. */
void fake_server_directory_remove(const char *path);

/* The real server (engine/uapi/server.h) over a fake engine. Ready when it returns. */
pid_t fake_server_start(const char *interface_name);
/* One that answers every request with `answer`, and closes the connection after each if `closing`. */
pid_t fake_server_start_scripted(const char *interface_name, const char *answer, int closing);
/* Kills and reaps. */
void fake_server_stop(pid_t pid);
