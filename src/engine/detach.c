#include "engine/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int null = -1; /* opened while files may be */

static _Noreturn void await_child(int ready_fd, pid_t child) {
    char ready;
    ssize_t size;
    int status;
    do {
        size = read(ready_fd, &ready, 1);
    } while (size < 0 && errno == EINTR);
    if (size == 1) {
        _exit(EXIT_SUCCESS);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        /* again */
    }
    _exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int detach_begin(int *ret_ready_fd) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return -error;
    }
    if (child > 0) {
        close(ends[1]);
        await_child(ends[0], child);
    }
    close(ends[0]);
    setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    *ret_ready_fd = ends[1];
    return 0;
}

static bool stderr_is_a_log(void) {
    struct stat status;
    return fstat(STDERR_FILENO, &status) == 0 && (S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode));
}

int detach_ready(int ready_fd) {
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (!stderr_is_a_log()) {
            dup2(null, STDERR_FILENO);
        }
        if (null > STDERR_FILENO) {
            close(null);
        }
    }
    if (chdir("/") < 0) {
        /* the directory it was started in stays in use; nothing else depends on it */
    }
    int rc = write(ready_fd, "", 1) < 0 ? -errno : 0;
    close(ready_fd);
    return rc;
}
