#include "engine/io/uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

/* What happens to a request that cannot be done at once happens when we ask for completions, and at no other time: see
 * take_back(). */
#define FLAGS (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

struct uring {
    struct io_uring ring;
};

/* How many of `count` requests the kernel has taken, in order. */
static size_t submit(struct uring *uring, size_t count) {
    size_t taken = 0;
    while (taken < count) {
        int some = io_uring_submit(&uring->ring);
        if (some <= 0) {
            break;
        }
        taken += (size_t)some;
    }
    return taken;
}

/* How many are done now. */
static size_t collect(struct uring *uring, int *results) {
    struct io_uring_cqe *done;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&uring->ring, head, done) {
        /* That is what the packet's own write(2) would have said. */
        results[done->user_data] = done->res == -ECANCELED ? -EAGAIN : done->res;
        count++;
    }
    io_uring_cq_advance(&uring->ring, count);
    return count;
}

/* A non-blocking write is done, well or not, while it is submitted. But where write(2) answers EAGAIN, the kernel waits
 * until the descriptor takes it: it would come late, behind packets that it was in front of. So it is dropped, as after
 * EAGAIN. (A TUN says so with 2 GB of our packets on their way.) It cannot run before: with deferred task work the
 * kernel comes back to it only when we wait for completions, and by then it is cancelled. */
static void take_back(struct uring *uring) {
    struct io_uring_sync_cancel_reg all = {
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL, .timeout = {.tv_sec = -1, .tv_nsec = -1}, /* none */
    };
    (void)io_uring_register_sync_cancel(&uring->ring, &all); /* if it fails they still come to an end, only later */
}

/* All that were taken. The bytes are the kernel's until then, so there is no other way out. */
static void finish_writes(struct uring *uring, size_t taken, int *results) {
    size_t done = collect(uring, results);
    if (done < taken) {
        take_back(uring);
    }
    while (done < taken) {
        struct io_uring_cqe *first;
        (void)io_uring_wait_cqe(&uring->ring, &first);
        done += collect(uring, results);
    }
}

/* Whether requests come through, not only the making of a ring. */
static int try(struct uring *uring) {
    int result = 0;
    struct io_uring_sqe *nothing = io_uring_get_sqe(&uring->ring);
    io_uring_prep_nop(nothing);
    io_uring_sqe_set_data64(nothing, 0);
    int taken = io_uring_submit(&uring->ring);
    if (taken < 1) {
        return taken < 0 ? taken : -EAGAIN;
    }
    finish_writes(uring, 1, &result);
    return result;
}

/* The descriptor is not registered with the ring. That would save 1 % of a packet's cost, but a ring comes apart some
 * time after its process was killed, and would keep the TUN until then: it would be busy for the next engine. */
int uring_create(struct uring **ret_uring) {
    struct uring *uring = calloc(1, sizeof *uring);
    if (!uring) {
        return -ENOMEM;
    }
    int error = io_uring_queue_init(URING_WRITES_MAX, &uring->ring, FLAGS);
    if (error) {
        free(uring);
        return error;
    }
    error = try(uring);
    if (error) {
        uring_free(uring);
        return error;
    }
    *ret_uring = uring;
    return 0;
}

void uring_free(struct uring *uring) {
    if (!uring) {
        return;
    }
    io_uring_queue_exit(&uring->ring);
    free(uring);
}

size_t uring_write(struct uring *uring, int fd, const struct iovec *writes, size_t count, int *ret_results) {
    for (size_t i = 0; i < count; i++) {
        struct io_uring_sqe *request = io_uring_get_sqe(&uring->ring); /* as many as there may be writes */
        io_uring_prep_write(request, fd, writes[i].iov_base, (unsigned)writes[i].iov_len, 0);
        io_uring_sqe_set_data64(request, i);
    }
    size_t taken = submit(uring, count);
    finish_writes(uring, taken, ret_results);
    return taken;
}
