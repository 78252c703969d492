/* Going into the background as wg-quick(8) expects of a userspace implementation: the command returns once the
 * interface can be used, with the status of its start.
 *
 * Call detach_begin() before any thread exists. */
#pragma once

/* Forks. The parent does not return: it waits for detach_ready() or for the child's end and exits with 0 or the child's
 * status. In the child (in a session of its own) 0 with the descriptor for detach_ready(); -errno if there is no child.
 */
int detach_begin(int *ret_ready_fd);
/* The start succeeded: lets the parent go and gives up the terminal. stderr stays where it is if it is a file or a
 * socket (a log, the journal), else it goes to /dev/null, so that a shell's pipe or terminal is not held open. -EPIPE:
 * the parent was killed, so the start was called off: end. SIGPIPE must be ignored. */
int detach_ready(int ready_fd);
