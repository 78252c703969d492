/* What a confined process may not do any more, and what it still may: asked in a child. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/confine.h"

#include "../sanitized.h"

/* In a child; its answer is a number of the first thing that was not as it should be, 0: none. */
static int in_child(int (*fn)(void)) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(fn());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void *nothing(void *argument) {
    return argument;
}

/* Another thread, there before the filter: it is meant too. */
static pthread_barrier_t filtered;
static int by_another;

static void *execute_too(void *argument) {
    char *const words[] = {(char *)(uintptr_t) "/bin/true", NULL};
    pthread_barrier_wait(&filtered);
    by_another = execve(words[0], words, words + 1) < 0 ? errno : 0;
    return argument;
}

static bool refused(long result) {
    return result < 0 && errno == EPERM;
}

static int confined_process(void) {
    static const struct confine confine;
    pthread_t thread;
    struct iovec piece = {.iov_base = &by_another, .iov_len = sizeof by_another};
    int number = 0;
    pthread_barrier_init(&filtered, NULL, 2);
    if (pthread_create(&thread, NULL, execute_too, NULL) != 0 || confine_system_calls(&confine) != 0) {
        return 100;
    }
#define MUST(condition)                                                                                                \
    number++;                                                                                                          \
    if (!(condition)) {                                                                                                \
        return number;                                                                                                 \
    }
    MUST(prctl(PR_GET_SECCOMP) == 2 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
    MUST(refused(process_vm_readv(getppid(), &piece, 1, &piece, 1, 0)))
    MUST(refused(mount("none", "/nowhere", "tmpfs", 0, NULL)))
    MUST(refused(syscall(SYS_bpf, 0, NULL, 0)))
    MUST(refused(syscall(SYS_init_module, NULL, 0, "")))
    MUST(refused(unshare(CLONE_NEWNET)))
    MUST(refused(syscall(SYS_memfd_create, "x", 0)))
    MUST(socket(AF_INET, SOCK_DGRAM, 0) >= 0)
#if !SANITIZED
    char *const words[] = {(char *)(uintptr_t) "/bin/true", NULL};
    MUST(refused(ptrace(PTRACE_TRACEME, 0, 0, 0)))
    MUST(refused(execve(words[0], words, words + 1)))
    MUST(refused(open("/dev/null", O_RDONLY)))
    MUST(refused(fork()))
    MUST(refused(syscall(SYS_io_uring_setup, 1, NULL)))
    pthread_barrier_wait(&filtered);
    MUST(pthread_join(thread, NULL) == 0 && by_another == EPERM)
#endif
    MUST(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0)
    return 0;
}

static void what_a_gateway_never_does_is_refused_to_all_threads(void **state) {
    (void)state;
    assert_int_equal(in_child(confined_process), 0);
}

static int with_xdp(void) {
    static const struct confine confine = {.xdp = true};
    if (confine_system_calls(&confine) != 0) {
        return 100;
    }
    return syscall(SYS_bpf, 255, NULL, 0) < 0 && errno == EPERM ? geteuid() == 0 : 0;
}

static void with_af_xdp_the_kernel_may_be_asked_about_programs(void **state) {
    (void)state;
    assert_int_equal(in_child(with_xdp), 0);
}

static void a_user_is_found_by_name_and_by_number(void **state) {
    struct confine by_name = {0}, by_number = {0};
    (void)state;
    assert_int_equal(confine_find_user("nobody", &by_name), 0);
    assert_true(by_name.as_user && by_name.uid != 0);
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)by_name.uid);
    assert_int_equal(confine_find_user(number, &by_number), 0);
    assert_true(by_number.uid == by_name.uid && by_number.gid == by_name.gid);
    assert_true(confine_find_user("no such user", &by_number) < 0);
    assert_true(confine_find_user("", &by_number) < 0);
    assert_true(confine_find_user("-1", &by_number) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_gateway_never_does_is_refused_to_all_threads),
        cmocka_unit_test(with_af_xdp_the_kernel_may_be_asked_about_programs),
        cmocka_unit_test(a_user_is_found_by_name_and_by_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
