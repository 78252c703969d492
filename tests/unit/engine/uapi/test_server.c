/* The server on a real socket in a directory of its own, with a fake engine. The test plays the control thread's loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/uapi/server.h"
#include "engine/uapi/socket.h"
#include "fake_engine.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct world {
    char directory[64];
    struct engine *engine;
    struct uapi_socket socket;
    struct uapi_server *server;
};

static struct engine_caller caller;

static int open_world(void **state) {
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "/tmp/sallyport-test-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    setenv(UAPI_DIRECTORY_VARIABLE, w->directory, 1);
    w->engine = fake_engine_create();
    assert_int_equal(uapi_socket_claim("wg0", &w->socket), 0);
    assert_int_equal(uapi_server_create(&w->socket, w->engine, &w->server), 0);
    *state = w;
    return 0;
}

static int close_world(void **state) {
    struct world *w = *state;
    uapi_server_free(w->server);
    uapi_socket_release(&w->socket);
    fake_engine_free(w->engine);
    assert_int_equal(rmdir(w->directory), 0); /* nothing is left behind */
    free(w);
    return 0;
}

static int dial(struct world *w) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, w->socket.path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Rounds of the loop while there is something to do. */
static int turn(struct world *w) {
    struct pollfd ready = {.fd = uapi_server_fd(w->server), .events = POLLIN};
    int rc = 0;
    while (rc == 0 && poll(&ready, 1, 0) > 0) {
        rc = uapi_server_attend(w->server);
    }
    return rc;
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What has arrived by now, as text. */
static const char *heard(int fd) {
    static char text[65536];
    ssize_t size = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[size < 0 ? 0 : size] = '\0';
    return text;
}

static void the_socket_is_for_its_owner_only(void **state) {
    struct world *w = *state;
    struct stat status;
    assert_int_equal(stat(w->socket.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void requests_are_answered_in_turn(void **state) {
    struct world *w = *state;
    int fd = dial(w);
    say(fd, "set=1\nlisten_port=5\n\nget=1\n\nset=1\nwrong=1\n\nget=1\nwrong=1\n\n");
    turn(w);
    /* negative after a set, positive after a get: what wg(8) understands */
    assert_string_equal(heard(fd), "errno=0\n\nlisten_port=5\nerrno=0\n\nerrno=-22\n\nerrno=22\n\n");
    say(fd, "set=1\nsallyport=1\nwrong=1\n\n");
    turn(w);
    assert_string_equal(heard(fd), "error=line 3: wrong: no key of the device\nerrno=-22\n\n");
    close(fd);
}

static void a_silent_client_holds_up_nobody(void **state) {
    struct world *w = *state;
    int silent[20];
    for (int i = 0; i < 20; i++) {
        silent[i] = dial(w);
        say(silent[i], "set=1\nlisten_po");
    }
    int fd = dial(w);
    say(fd, "set=1\nlisten_port=5\n\n");
    turn(w);
    assert_string_equal(heard(fd), "errno=0\n\n");
    say(silent[0], "rt=6\n\n");
    turn(w);
    assert_int_equal(w->engine->device.listen_port, 6);
    for (int i = 0; i < 20; i++) {
        close(silent[i]);
    }
    turn(w);
    close(fd);
}

static void add_peers(struct world *w, int count) {
    for (int i = 0; i < count; i++) {
        struct engine_peer_change change = {.public_key = {.bytes = {(uint8_t)i, (uint8_t)(i >> 8), 1}}};
        assert_int_equal(engine_peer_change(w->engine, &caller, &change), 0);
    }
}

/* Reads all there is, turning the loop meanwhile. How many answers ended: nothing else in them is an empty line. */
static unsigned count_answers(struct world *w, int fd) {
    char last = 0;
    unsigned answers = 0;
    for (int idle = 0; idle < 2;) {
        char part[65536];
        ssize_t size = recv(fd, part, sizeof part, MSG_DONTWAIT);
        for (ssize_t i = 0; i < size; i++) {
            answers += part[i] == '\n' && last == '\n';
            last = part[i];
        }
        idle = size > 0 ? 0 : idle + 1;
        if (size <= 0) {
            turn(w);
        }
    }
    return answers;
}

static void a_client_that_does_not_read_holds_up_nobody(void **state) {
    struct world *w = *state;
    add_peers(w, 3000);
    int deaf = dial(w);
    for (int i = 0; i < 200; i++) {
        say(deaf, "get=1\n\n"); /* some 200 MB of answers, of which one at a time is made */
    }
    int fd = dial(w);
    say(fd, "set=1\nlisten_port=5\n\n");
    turn(w);
    assert_string_equal(heard(fd), "errno=0\n\n");
    assert_int_equal(count_answers(w, deaf), 200); /* it reads at last */
    close(deaf);
    close(fd);
}

static void an_answer_is_made_no_faster_than_it_is_read(void **state) {
    struct world *w = *state;
    struct engine_allowed_ip allowed[FAKE_ALLOWED_IPS_MAX];
    for (uint32_t i = 0; i < FAKE_ALLOWED_IPS_MAX; i++) {
        struct ip_addr addr = ip_from_v4(0x0a000000 + i);
        allowed[i] = (struct engine_allowed_ip){.prefix = prefix_make(&addr, 32)};
    }
    for (unsigned i = 0; i < 6000; i++) { /* some 10 MB of text */
        struct engine_peer_change change = {.public_key = {.bytes = {(uint8_t)i, (uint8_t)(i >> 8), 1}},
                                            .allowed_ips = allowed,
                                            .allowed_ip_count = FAKE_ALLOWED_IPS_MAX};
        assert_int_equal(engine_peer_change(w->engine, &caller, &change), 0);
    }
    int slow = dial(w);
    int fd = dial(w);
    say(slow, "get=1\n\n");
    turn(w);
    assert_in_range(w->engine->walk_steps, 1, 50); /* of 60 */
    say(fd, "set=1\nlisten_port=5\n\n");
    turn(w);
    assert_string_equal(heard(fd), "errno=0\n\n"); /* in the middle of it */
    assert_int_equal(count_answers(w, slow), 1);
    assert_int_equal(w->engine->walk_steps, 60);
    close(slow);
    close(fd);
}

static void a_client_may_go_at_any_point(void **state) {
    struct world *w = *state;
    add_peers(w, 3000);
    static const char *const said[] = {"",
                                       "g",
                                       "get=1\n",
                                       "get=1\n\n",
                                       "set=1\n",
                                       "set=1\npublic_key=" KEY_A "\n",
                                       "set=1\npublic_key=" KEY_A "\n\n",
                                       "x\n\n"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        int fd = dial(w);
        if (*said[i]) {
            say(fd, said[i]);
        }
        if (i % 2) {
            assert_int_equal(turn(w), 0);
        }
        close(fd);
        assert_int_equal(turn(w), 0);
    }
    int fd = dial(w);
    say(fd, "set=1\nlisten_port=5\n\n");
    assert_int_equal(turn(w), 0);
    assert_string_equal(heard(fd), "errno=0\n\n");
    close(fd);
}

static void a_client_that_closes_its_half_still_gets_its_answer(void **state) {
    struct world *w = *state;
    int fd = dial(w);
    say(fd, "get=1\n\n");
    shutdown(fd, SHUT_WR);
    turn(w);
    assert_string_equal(heard(fd), "listen_port=0\nerrno=0\n\n");
    assert_int_equal(recv(fd, (char[1]){0}, 1, MSG_DONTWAIT), 0);
    close(fd);
}

static void more_clients_than_allowed_wait_their_turn(void **state) {
    struct world *w = *state;
    int fds[300];
    for (int i = 0; i < 300; i++) {
        fds[i] = dial(w);
        turn(w);
    }
    say(fds[299], "get=1\n\n");
    turn(w);
    assert_string_equal(heard(fds[299]), "");
    for (int i = 0; i < 299; i++) {
        close(fds[i]);
    }
    turn(w);
    assert_string_equal(heard(fds[299]), "listen_port=0\nerrno=0\n\n");
    close(fds[299]);
}

static void without_descriptors_a_client_is_turned_away(void **state) {
    struct world *w = *state;
    struct pollfd ready = {.fd = uapi_server_fd(w->server), .events = POLLIN};
    struct rlimit before;
    int fd = dial(w);
    int next = dup(fd);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rounds = 0;
    while (rounds < 100 && poll(&ready, 1, 0) > 0) {
        assert_int_equal(uapi_server_attend(w->server), 0);
        rounds++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(rounds, 1, 99);
    assert_int_equal(recv(fd, (char[1]){0}, 1, MSG_DONTWAIT), 0);
    close(fd);
    fd = dial(w);
    say(fd, "get=1\n\n");
    turn(w);
    assert_string_equal(heard(fd), "listen_port=0\nerrno=0\n\n");
    close(fd);
}

static void removing_the_socket_file_ends_the_server(void **state) {
    struct world *w = *state;
    assert_int_equal(turn(w), 0);
    char other[160];
    snprintf(other, sizeof other, "%s/wg1.sock", w->directory);
    close(creat(other, 0600));
    assert_int_equal(unlink(other), 0);
    assert_int_equal(turn(w), 0); /* a neighbour's is no matter */
    assert_int_equal(unlink(w->socket.path), 0);
    assert_int_equal(turn(w), -ENOENT);
}

static void a_replaced_socket_file_is_not_ours_to_remove(void **state) {
    struct world *w = *state;
    assert_int_equal(unlink(w->socket.path), 0);
    close(creat(w->socket.path, 0600));
    assert_int_equal(turn(w), -ENOENT);
    uapi_socket_release(&w->socket);
    assert_int_equal(access(w->socket.path, F_OK), 0);
    assert_int_equal(unlink(w->socket.path), 0);
}

static void a_second_instance_is_refused_and_a_stale_file_replaced(void **state) {
    struct world *w = *state;
    struct uapi_socket second;
    assert_int_equal(uapi_socket_claim("wg0", &second), -EADDRINUSE);
    assert_int_equal(access(w->socket.path, F_OK), 0);
    assert_int_equal(uapi_socket_claim("wg1", &second), 0);
    char path[UAPI_PATH_SIZE];
    memcpy(path, second.path, sizeof path);
    close(second.fd); /* as if it had been killed */
    close(second.watch_fd);
    struct uapi_socket third;
    assert_int_equal(uapi_socket_claim("wg1", &third), 0);
    uapi_socket_release(&third);
    assert_int_equal(access(path, F_OK), -1);
    close(creat(path, 0600));
    assert_int_equal(uapi_socket_claim("wg1", &third), -EEXIST);
    assert_int_equal(unlink(path), 0);
}

static void a_folder_that_everybody_may_write_to_is_refused(void **state) {
    struct world *w = *state;
    struct uapi_socket other;
    assert_int_equal(chmod(w->directory, 0777), 0);
    assert_int_equal(uapi_socket_claim("wg1", &other), -EPERM);
    assert_int_equal(chmod(w->directory, 01777), 0); /* as /tmp: what is ours stays ours */
    assert_int_equal(uapi_socket_claim("wg1", &other), 0);
    uapi_socket_release(&other);
}

static void a_folder_that_is_missing_is_made_for_its_owner_only(void **state) {
    struct world *w = *state;
    struct uapi_socket other;
    struct stat status;
    char folder[sizeof w->directory + 8];
    snprintf(folder, sizeof folder, "%s/made", w->directory);
    setenv(UAPI_DIRECTORY_VARIABLE, folder, 1);
    mode_t before = umask(0);
    assert_int_equal(uapi_socket_claim("wg1", &other), 0);
    umask(before);
    assert_int_equal(stat(folder, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    assert_int_equal(stat(other.path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    uapi_socket_release(&other);
    assert_int_equal(rmdir(folder), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_socket_is_for_its_owner_only),
        TEST(a_folder_that_everybody_may_write_to_is_refused),
        TEST(a_folder_that_is_missing_is_made_for_its_owner_only),
        TEST(requests_are_answered_in_turn),
        TEST(a_silent_client_holds_up_nobody),
        TEST(a_client_that_does_not_read_holds_up_nobody),
        TEST(an_answer_is_made_no_faster_than_it_is_read),
        TEST(a_client_may_go_at_any_point),
        TEST(a_client_that_closes_its_half_still_gets_its_answer),
        TEST(more_clients_than_allowed_wait_their_turn),
        TEST(without_descriptors_a_client_is_turned_away),
        TEST(removing_the_socket_file_ends_the_server),
        TEST(a_replaced_socket_file_is_not_ours_to_remove),
        TEST(a_second_instance_is_refused_and_a_stale_file_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
