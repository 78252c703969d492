#include "fake_server.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../engine/fake_engine.h"
#include "engine/uapi/server.h"
#include "engine/uapi/socket.h"

static void require(int holds, const char *what) {
    if (!holds) {
        perror(what);
        abort();
    }
}

void fake_server_directory_make(char path[64]) {
    snprintf(path, 64, "/tmp/sallyport-test-XXXXXX");
    require(mkdtemp(path) != NULL, "mkdtemp");
    setenv(UAPI_DIRECTORY_VARIABLE, path, 1);
}

void fake_server_directory_remove(const char *path) {
    DIR *directory = opendir(path);
    require(directory != NULL, path);
    for (struct dirent *entry; (entry = readdir(directory));) {
        unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
    require(rmdir(path) == 0, path);
}

static void serve(struct uapi_socket *socket) {
    struct uapi_server *server;
    struct engine *engine = fake_engine_create();
    require(engine && uapi_server_create(socket, engine, &server) == 0, "server");
    struct pollfd ready = {.fd = uapi_server_fd(server), .events = POLLIN};
    while (poll(&ready, 1, -1) >= 0 && uapi_server_attend(server) == 0) {
        /* until killed */
    }
}

/* Reads up to the empty line that ends a request. 0 at the end of the connection. */
static int read_request(int fd) {
    char last = 0;
    char c;
    while (read(fd, &c, 1) == 1) {
        if (c == '\n' && last == '\n') {
            return 1;
        }
        last = c;
    }
    return 0;
}

static void serve_script(const struct uapi_socket *socket, const char *answer, int closing) {
    struct pollfd ready = {.fd = socket->fd, .events = POLLIN};
    for (;;) {
        require(poll(&ready, 1, -1) >= 0, "poll");
        int fd = accept(socket->fd, NULL, NULL);
        while (fd >= 0 && read_request(fd)) {
            if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0 || closing) {
                break;
            }
        }
        close(fd);
    }
}

/* `answer` NULL: the real server. */
static pid_t start(const char *interface_name, const char *answer, int closing) {
    int ends[2];
    char ready;
    require(pipe(ends) == 0, "pipe");
    pid_t pid = fork();
    require(pid >= 0, "fork");
    if (pid == 0) {
        struct uapi_socket socket;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        require(uapi_socket_claim(interface_name, &socket) == 0, interface_name);
        require(write(ends[1], "", 1) == 1, "ready");
        close(ends[1]);
        if (answer) {
            serve_script(&socket, answer, closing);
        } else {
            serve(&socket);
        }
        _exit(0);
    }
    close(ends[1]);
    require(read(ends[0], &ready, 1) == 1, "server");
    close(ends[0]);
    return pid;
}

pid_t fake_server_start(const char *interface_name) {
    return start(interface_name, NULL, 0);
}

pid_t fake_server_start_scripted(const char *interface_name, const char *answer, int closing) {
    return start(interface_name, answer, closing);
}

void fake_server_stop(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
