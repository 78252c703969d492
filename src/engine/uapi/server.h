/* The engine's control socket: what wg(8), wg-quick(8) and sallyportd say to it, as text (docs/uapi.md).
 *
 * The room owns the socket file, the connections, and what was read and is to be written on them; it reaches the engine
 * through engine/engine.h alone. The control thread enters it. text.h is shared with the other end, src/backend.
 *
 * To read it: text (the words), output (what a client is still to be sent), answer (to a `get`), request (what a client
 * wants, line by line), socket (the file), server (this file).
 *
 * --- Serves the socket of one engine to any number of clients ---
 *
 * Everything is non-blocking; a client has a bounded buffer for what it sends and reads nothing more while its answer
 * is not taken; the answer itself is made as fast as the client takes it. Nobody waits for a slow or a silent one. */
#pragma once

struct engine;
struct uapi_server;
struct uapi_socket;

/* `socket` and `engine` are borrowed and must outlive the server. */
int uapi_server_create(struct uapi_socket *socket, struct engine *engine, struct uapi_server **ret_server);
/* Disconnects everybody. Accepts NULL. */
void uapi_server_free(struct uapi_server *server);
/* For poll(): readable when uapi_server_attend() has work. */
int uapi_server_fd(const struct uapi_server *server);
/* A bounded round of work. 0; -ENOENT: the socket file was removed, which asks the engine to exit; other -errno: the
 * server cannot go on. */
int uapi_server_attend(struct uapi_server *server);
