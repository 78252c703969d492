/* What one UAPI client is still to be sent: a queue of chunks in front of a non-blocking socket.
 *
 * Appending never blocks and never fails at once: an error sticks. Whoever fills it stops at UAPI_OUTPUT_HIGH and goes
 * on when the client has taken some. Answers hold private keys: chunks are wiped when they are sent or dropped. Control
 * thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UAPI_OUTPUT_CHUNK (64u * 1024)
#define UAPI_OUTPUT_HIGH (1024u * 1024)

struct uapi_chunk;

struct uapi_output {
    int fd;                   /* borrowed; -1: nothing is sent, everything is held */
    struct uapi_chunk *first; /* oldest; owned */
    struct uapi_chunk *last;
    size_t size; /* bytes held */
    int error;   /* 0, or -errno that sticks: out of memory, or the client is gone */
};

void uapi_output_append(struct uapi_output *output, const char *text, size_t size);
/* Sends what the socket takes now. 0: all is sent; -EAGAIN: more is left; else the error that sticks. */
int uapi_output_send(struct uapi_output *output);
/* Drops (and wipes) what is held. */
void uapi_output_free(struct uapi_output *output);
