#include "engine/uapi/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct uapi_chunk {
    struct uapi_chunk *next;
    size_t from; /* sent up to here */
    size_t to;   /* filled up to here */
    char bytes[UAPI_OUTPUT_CHUNK];
};

static void drop_first(struct uapi_output *output) {
    struct uapi_chunk *chunk = output->first;
    output->first = chunk->next;
    if (!output->first) {
        output->last = NULL;
    }
    output->size -= chunk->to - chunk->from;
    explicit_bzero(chunk->bytes, chunk->to);
    free(chunk);
}

static struct uapi_chunk *add_last(struct uapi_output *output) {
    struct uapi_chunk *chunk = malloc(sizeof *chunk);
    if (!chunk) {
        output->error = -ENOMEM;
        return NULL;
    }
    chunk->next = NULL;
    chunk->from = chunk->to = 0;
    if (output->last) {
        output->last->next = chunk;
    } else {
        output->first = chunk;
    }
    output->last = chunk;
    return chunk;
}

int uapi_output_send(struct uapi_output *output) {
    while (output->first && !output->error) {
        struct uapi_chunk *chunk = output->first;
        ssize_t sent = output->fd < 0 ? -1
                                      : send(output->fd, chunk->bytes + chunk->from, chunk->to - chunk->from,
                                             MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (output->fd < 0 || errno == EAGAIN)) {
            return -EAGAIN;
        }
        if (sent < 0) {
            if (errno != EINTR) {
                output->error = -errno;
            }
            continue;
        }
        chunk->from += (size_t)sent;
        output->size -= (size_t)sent;
        if (chunk->from == chunk->to) {
            drop_first(output);
        }
    }
    return output->error;
}

void uapi_output_append(struct uapi_output *output, const char *text, size_t size) {
    while (size && !output->error) {
        struct uapi_chunk *chunk = output->last;
        if (!chunk || chunk->to == sizeof chunk->bytes) {
            chunk = add_last(output);
            if (!chunk) {
                return;
            }
        }
        size_t room = sizeof chunk->bytes - chunk->to;
        size_t part = size < room ? size : room;
        memcpy(chunk->bytes + chunk->to, text, part);
        chunk->to += part;
        output->size += part;
        text += part;
        size -= part;
    }
}

void uapi_output_free(struct uapi_output *output) {
    while (output->first) {
        drop_first(output);
    }
}
