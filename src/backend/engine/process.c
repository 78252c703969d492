#include "backend/engine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/hooks.h"

#define POLL_MS 5

/* All the engine needs of our environment; the rest (a store's password, another daemon's sockets) is none of its
 * matter. */
static const char *const passed_on[] = {
    "SALLYPORT_WG_DIR", "PATH",         "LD_LIBRARY_PATH", "ASAN_OPTIONS",
    "UBSAN_OPTIONS",    "LSAN_OPTIONS", "TSAN_OPTIONS",    "JOURNAL_STREAM", /* last: only where stderr is inherited */
};

#define PASSED_ON (sizeof passed_on / sizeof *passed_on)
#define HOOKS_MAX 8 /* of tests (base/hooks.h) */

extern char **environ;

/* Borrows the strings of our own environment. */
static void pick_environment(size_t count, char *ret_environment[PASSED_ON + HOOKS_MAX + 1]) {
    const char *hooks = hooks_prefix();
    size_t picked = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(passed_on[i]);
        for (char **variable = environ; *variable; variable++) {
            if (strncmp(*variable, passed_on[i], size) == 0 && (*variable)[size] == '=') {
                ret_environment[picked++] = *variable;
                break;
            }
        }
    }
    for (char **variable = environ; hooks && *variable && picked < PASSED_ON + HOOKS_MAX; variable++) {
        if (strncmp(*variable, hooks, strlen(hooks)) == 0) {
            ret_environment[picked++] = *variable;
        }
    }
    ret_environment[picked] = NULL;
}

/* Waits for the first process; its detached child is init's from then on. */
static int await(pid_t pid, int *ret_status) {
    uint64_t deadline = clock_mono_ns() + PROCESS_PATIENCE_MS * NSEC_PER_MSEC;
    for (;;) {
        pid_t ended = waitpid(pid, ret_status, WNOHANG);
        if (ended == pid) {
            return 0;
        }
        if (ended < 0 && errno != EINTR) {
            return -errno;
        }
        if (clock_mono_ns() > deadline) {
            /* Its child, not ready yet, ends when it finds that nobody waits for it (engine/detach.h). */
            kill(pid, SIGKILL);
            waitpid(pid, ret_status, 0);
            return -ETIMEDOUT;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000}, NULL);
    }
}

/* A session of its own (no terminal, no signals of ours), default signals, nothing on stdin and stdout. */
static int start(const char *path, char *const *arguments, int log_fd, pid_t *ret_pid) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    char *environment[PASSED_ON + HOOKS_MAX + 1];
    pick_environment(log_fd < 0 ? PASSED_ON : PASSED_ON - 1, environment);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (log_fd >= 0) {
        posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
    }
    int error = posix_spawn(ret_pid, path, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return -error;
}

/* The last line that was written to the log after `from`, without its newline. */
static void last_line(int log_fd, off_t from, char *line, size_t line_size) {
    struct stat status;
    if (log_fd < 0 || fstat(log_fd, &status) < 0 || status.st_size <= from) {
        return;
    }
    char text[2048];
    off_t start = status.st_size - from > (off_t)sizeof text - 1 ? status.st_size - (off_t)sizeof text + 1 : from;
    ssize_t size = pread(log_fd, text, sizeof text - 1, start);
    while (size > 0 && text[size - 1] == '\n') {
        size--;
    }
    if (size <= 0) {
        return;
    }
    text[size] = '\0';
    const char *newline = strrchr(text, '\n');
    snprintf(line, line_size, "%s", newline ? newline + 1 : text);
}

static const struct {
    enum backend_offload offload;
    const char *argument;
} switches[] = {
    {BACKEND_OFFLOAD_GSO, "--no-gso"},
    {BACKEND_OFFLOAD_TSO, "--no-tso"},
    {BACKEND_OFFLOAD_URING, "--no-uring"},
};

int process_start_engine(const struct backend_config *config, char *fault, size_t fault_size) {
    char workers[16];
    char *arguments[12];
    size_t count = 0;
    pid_t pid;
    int status;
    int log_fd = -1;
    off_t log_end = 0;
    arguments[count++] = (char *)(uintptr_t)config->engine_path;
    if (config->engine_workers) {
        snprintf(workers, sizeof workers, "%u", config->engine_workers);
        arguments[count++] = (char *)(uintptr_t) "--workers";
        arguments[count++] = workers;
    }
    if (config->engine_xdp) {
        arguments[count++] = (char *)(uintptr_t) "--xdp";
        arguments[count++] = (char *)(uintptr_t)config->engine_xdp;
    }
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        if (config->engine_offloads_off & switches[i].offload) {
            arguments[count++] = (char *)(uintptr_t)switches[i].argument;
        }
    }
    arguments[count++] = (char *)(uintptr_t) "--";
    arguments[count++] = (char *)(uintptr_t)config->interface_name;
    arguments[count] = NULL;
    *fault = '\0';
    if (config->engine_log) {
        log_fd = open(config->engine_log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (log_fd < 0) {
            int error = errno;
            snprintf(fault, fault_size, "cannot write its log %s: %s", config->engine_log, strerror(error));
            return -error;
        }
        log_end = lseek(log_fd, 0, SEEK_END);
    }
    int rc = start(config->engine_path, arguments, log_fd, &pid);
    if (rc == 0) {
        rc = await(pid, &status);
    }
    if (rc == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        rc = -EIO;
        last_line(log_fd, log_end, fault, fault_size);
    }
    if (log_fd >= 0) {
        close(log_fd);
    }
    return rc;
}

/* When a process started, in clock ticks since boot: field 22 of /proc/PID/stat (proc(5)). 0: unknown. */
static uint64_t start_time(pid_t pid) {
    char path[64];
    char text[1024];
    uint64_t ticks = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    /* The second field is the program's name in parentheses and may hold anything, so count from behind it. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at && sscanf(at, " %" SCNu64, &ticks) != 1) {
        return 0;
    }
    return ticks;
}

/* No two processes with one number start in one clock tick. */
uint64_t process_generation(pid_t pid) {
    return (start_time(pid) << 22 | (uint64_t)pid) + 1;
}

uint64_t process_resident_bytes(pid_t pid) {
    char path[64];
    uint64_t pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    if (fscanf(file, "%*u %" SCNu64, &pages) != 1) {
        pages = 0;
    }
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
