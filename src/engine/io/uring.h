/* Many small writes to one descriptor in one system call (io_uring, Linux 6.1).
 *
 * A packet of 128 bytes costs the kernel about as much to enter and leave write(2) as to copy: packets that cannot be
 * put together (coalesce.h) can at least cross in company. A call is over when all its writes are: nothing stays in
 * flight, and the bytes are the caller's again. One thread, the one that created it; free on any, when that is done. */
#pragma once

#include <stddef.h>
#include <sys/uio.h>

#define URING_WRITES_MAX 64 /* in one call */

struct uring;

/* 0; -ENOSYS, -EINVAL: this kernel has no io_uring, or an older one; or another -errno: it refuses (a container's
 * seccomp filter, kernel.io_uring_disabled), or -ENOMEM. */
int uring_create(struct uring **ret_uring);
/* Accepts NULL. */
void uring_free(struct uring *uring);

/* Writes up to URING_WRITES_MAX packets to a non-blocking `fd`, as so many write(2) would: in this order; the result of
 * each is what that would have returned, or -errno. How many there are: always the first ones. If it is not all, the
 * kernel wants no more: free it, and write the rest by other means. */
size_t uring_write(struct uring *uring, int fd, const struct iovec *writes, size_t count, int *ret_results);
