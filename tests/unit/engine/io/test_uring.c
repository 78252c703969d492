/* Many writes in one call are so many write(2): the same packets, the same order, the same answers, and nothing after.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "engine/io/uring.h"

enum { HERE, THERE };

static char texts[URING_WRITES_MAX][16];
static struct iovec writes[URING_WRITES_MAX];
static int results[URING_WRITES_MAX];

static struct uring *make(int pair[2]) {
    struct uring *uring = NULL;
    int size = 20000; /* of a buffer: of some tens of packets */
    assert_int_equal(uring_create(&uring), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(setsockopt(pair[HERE], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    for (int i = 0; i < URING_WRITES_MAX; i++) {
        size = snprintf(texts[i], sizeof texts[i], "packet %d", i);
        writes[i] = (struct iovec){.iov_base = texts[i], .iov_len = (size_t)size};
        results[i] = 12345;
    }
    return uring;
}

static void finish(struct uring *uring, const int pair[2]) {
    uring_free(uring);
    close(pair[HERE]);
    close(pair[THERE]);
}

/* The next one there, or -1. */
static int heard(const int pair[2]) {
    char text[16] = {0};
    int number = -1;
    return read(pair[THERE], text, sizeof text - 1) > 0 && sscanf(text, "packet %d", &number) == 1 ? number : -1;
}

/* How many it takes that nobody reads. */
static size_t room(const int pair[2]) {
    size_t count = 0;
    while (count < URING_WRITES_MAX && write(pair[HERE], "packet 0", 8) > 0) {
        count++;
    }
    assert_in_range(count, 2, URING_WRITES_MAX - 2); /* else there is nothing to be seen here */
    while (heard(pair) >= 0) {
    }
    return count;
}

static void they_arrive_in_order(void **state) {
    (void)state;
    int pair[2];
    struct uring *uring = make(pair);
    size_t count = room(pair);
    for (int round = 0; round < 100; round++) { /* the ring goes round, too */
        assert_int_equal(uring_write(uring, pair[HERE], writes, count, results), count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(results[i], (int)writes[i].iov_len);
            assert_int_equal(heard(pair), i);
        }
        assert_int_equal(heard(pair), -1);
    }
    assert_int_equal(uring_write(uring, pair[HERE], writes, 0, results), 0);
    finish(uring, pair);
}

static void what_finds_no_room_is_dropped_and_does_not_come_late(void **state) {
    (void)state;
    int pair[2];
    struct uring *uring = make(pair);
    size_t count = room(pair);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(uring_write(uring, pair[HERE], writes, URING_WRITES_MAX, results), URING_WRITES_MAX);
        for (size_t i = 0; i < URING_WRITES_MAX; i++) {
            assert_int_equal(results[i], i < count ? (int)writes[i].iov_len : -EAGAIN);
        }
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(heard(pair), i);
        }
        (void)usleep(2000);
        assert_int_equal(heard(pair), -1);
        /* nor behind the next ones */
        assert_int_equal(uring_write(uring, pair[HERE], writes, 1, results), 1);
        assert_int_equal(results[0], (int)writes[0].iov_len);
        assert_int_equal(heard(pair), 0);
        assert_int_equal(heard(pair), -1);
    }
    finish(uring, pair);
}

static void one_that_fails_holds_up_no_other(void **state) {
    (void)state;
    static char large[1 << 20];
    int pair[2];
    struct uring *uring = make(pair);
    writes[1] = (struct iovec){.iov_base = large, .iov_len = sizeof large};
    assert_int_equal(uring_write(uring, pair[HERE], writes, 3, results), 3);
    assert_int_equal(results[0], (int)writes[0].iov_len);
    assert_int_equal(results[1], -EMSGSIZE);
    assert_int_equal(results[2], (int)writes[2].iov_len);
    assert_int_equal(heard(pair), 0);
    assert_int_equal(heard(pair), 2);
    assert_int_equal(heard(pair), -1);
    finish(uring, pair);
}

static void a_closed_descriptor_is_said_of_each(void **state) {
    (void)state;
    int pair[2];
    struct uring *uring = make(pair);
    close(pair[HERE]);
    assert_int_equal(uring_write(uring, pair[HERE], writes, 5, results), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(results[i], -EBADF);
    }
    pair[HERE] = dup(pair[THERE]);
    finish(uring, pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_arrive_in_order),
        cmocka_unit_test(what_finds_no_room_is_dropped_and_does_not_come_late),
        cmocka_unit_test(one_that_fails_holds_up_no_other),
        cmocka_unit_test(a_closed_descriptor_is_said_of_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
