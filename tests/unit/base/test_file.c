/* Whole files, in a folder of the test's own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char folder[64];
static char path[80];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/sallyport-test-file-XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/name", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if anything else was left behind */
}

static void expect_file(const char *text, mode_t mode) {
    char found[64] = "";
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, found, sizeof found), strlen(text));
    assert_string_equal(found, text);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode & 07777, mode);
    assert_int_equal(status.st_nlink, 1);
    close(fd);
}

static void makes_a_file_of_exactly_the_mode(void **state) {
    (void)state;
    mode_t before = umask(0077);
    assert_int_equal(file_create(path, 0644, "abc\n", 4), 0);
    umask(before);
    expect_file("abc\n", 0644);
}

static void never_makes_one_over_another(void **state) {
    (void)state;
    assert_int_equal(file_create(path, 0600, "old", 3), 0);
    assert_int_equal(file_create(path, 0644, "new", 3), -EEXIST);
    expect_file("old", 0600);
}

static void replaces_one(void **state) {
    (void)state;
    assert_int_equal(file_replace(path, 0600, "old", 3), 0);
    assert_int_equal(file_replace(path, 0644, "new one", 7), 0);
    expect_file("new one", 0644);
}

/* The limit lets a part be written before it fails, as a full disk does. */
static void a_full_disk_leaves_the_old_one(void **state) {
    struct rlimit before, small;
    (void)state;
    assert_int_equal(file_create(path, 0600, "old", 3), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 5, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int error = file_replace(path, 0600, "much more than that", 19);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(error, -EFBIG);
    expect_file("old", 0600);
}

static void says_what_is_wrong_with_the_path(void **state) {
    char nowhere[128];
    char *endless = malloc(5000);
    (void)state;
    snprintf(nowhere, sizeof nowhere, "%s/nowhere/name", folder);
    assert_int_equal(file_create(nowhere, 0600, "", 0), -ENOENT);
    assert_int_equal(file_replace(folder, 0600, "", 0), -EISDIR);
    assert_non_null(endless);
    memset(endless, 'x', 4999);
    endless[4999] = '\0';
    assert_int_equal(file_create(endless, 0600, "", 0), -ENAMETOOLONG);
    free(endless);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(makes_a_file_of_exactly_the_mode), TEST(never_makes_one_over_another),     TEST(replaces_one),
        TEST(a_full_disk_leaves_the_old_one),   TEST(says_what_is_wrong_with_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
