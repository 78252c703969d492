/* A session that hears of commits: LISTEN. What it hears is a hint that there is something new, no more: messages are
 * not kept for those who are away (PostgreSQL manual, NOTIFY). */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "store/driver/driver.h"
#include "store/driver/postgresql_session.h"

struct driver_listener {
    PGconn *pg;
};

void postgresql_deafen(struct driver_listener *listener) {
    if (listener) {
        PQfinish(listener->pg);
        free(listener);
    }
}

int postgresql_listen(const char *where, const struct driver_options *options, struct driver_listener **ret_listener,
                      struct driver_fault *ret_fault) {
    struct driver_listener *listener = calloc(1, sizeof *listener);
    if (!listener) {
        return -ENOMEM;
    }
    int r = session_open(where, options, &listener->pg, ret_fault);
    if (r < 0) {
        free(listener);
        return r;
    }
    r = session_ask(listener->pg, "LISTEN sallyport", NULL, ret_fault);
    if (r < 0) {
        postgresql_deafen(listener);
        return r;
    }
    *ret_listener = listener;
    return 0;
}

int postgresql_await(struct driver_listener *listener, unsigned ms) {
    struct pollfd wait = {.fd = PQsocket(listener->pg), .events = POLLIN};
    int heard = 0;
    if (poll(&wait, 1, (int)ms) < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    if (wait.revents && PQconsumeInput(listener->pg) != 1) {
        return -ENOTCONN;
    }
    for (PGnotify *notice; (notice = PQnotifies(listener->pg));) {
        PQfreemem(notice);
        heard = 1;
    }
    return heard;
}
