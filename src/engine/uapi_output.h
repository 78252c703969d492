/* What one UAPI client is still to be sent: a queue of chunks in front of a non-blocking socket.
 *
 * A dump of a million peers is some 400 MB of text. The queue passes it on to the socket while it is being made and
 * waits for a client that keeps reading, so that at most UAPI_OUTPUT_HIGH bytes are held for it. A client that takes
 * nothing for UAPI_OUTPUT_PATIENCE_MS, or needs more than UAPI_OUTPUT_BUDGET_MS in all, is waited for no longer: from
 * then on its answer is held in memory until it reads or goes, and nobody else waits for it.
 *
 * Answers hold private keys: chunks are wiped when they are sent or dropped. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UAPI_OUTPUT_CHUNK (64u * 1024)
#define UAPI_OUTPUT_HIGH (1024u * 1024)
#define UAPI_OUTPUT_PATIENCE_MS 20
#define UAPI_OUTPUT_BUDGET_MS 2000

struct uapi_chunk;

struct uapi_output {
    int fd;                   /* borrowed; -1: nothing is sent, everything is held */
    struct uapi_chunk *first; /* oldest; owned */
    struct uapi_chunk *last;
    size_t size;        /* bytes held */
    int error;          /* 0, or -errno that sticks: out of memory, or the client is gone */
    uint64_t waited_ns; /* in this answer */
    bool slow;          /* not waited for any more in this answer */
};

/* A new answer begins: patience starts afresh. */
void uapi_output_begin(struct uapi_output *output);
void uapi_output_append(struct uapi_output *output, const char *text, size_t size);
/* Sends what the socket takes now. 0: all is sent; -EAGAIN: more is left; else the error that sticks. */
int uapi_output_send(struct uapi_output *output);
/* Drops (and wipes) what is held. */
void uapi_output_free(struct uapi_output *output);
