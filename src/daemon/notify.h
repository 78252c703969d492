/* Telling the service manager how we are: systemd's notification protocol (sd_notify(3)), a datagram to $NOTIFY_SOCKET.
 * Does nothing where there is none. */
#pragma once

void notify_send(const char *state); /* "READY=1" */
