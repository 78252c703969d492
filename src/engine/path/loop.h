/* A worker's thread: waits for what is ready, and takes a bounded piece of work from each side.
 *
 * What came of a round is sent at its end, so no side waits long for another. Between two rounds the worker runs what
 * the control thread posted (worker_call()). All functions here are the control thread's. */
#pragma once

struct udp_sockets;
struct worker;
struct worker_setup;
struct xdp;

/* `setup->workers` must be filled in before any is started. 0, -ENOMEM, -errno. */
int loop_create(const struct worker_setup *setup, unsigned number, struct worker **ret_worker);
int loop_start(struct worker *worker);
/* Stops and joins its thread. */
void loop_stop(struct worker *worker);
/* Accepts NULL. Stopped. */
void loop_free(struct worker *worker);

/* In a call: takes over sockets (closing is the control thread's), or none when the interface goes down. */
void loop_set_sockets(struct worker *worker, const struct udp_sockets *sockets);
/* Before it is started. Reads this worker's queues of it from then on; NULL: none. 0, or -errno. */
int loop_set_xdp(struct worker *worker, const struct xdp *xdp);
