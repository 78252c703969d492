/* What the thread of a connection asks of the server around it. */
#include <stdarg.h>
#include <stdio.h>

#include "api/http/server.h"
#include "base/clock.h"

void server_log(const struct api *api, enum log_level level, const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (api->config.log) {
        api->config.log(level, line);
    }
}

bool server_stopping(void *context) {
    struct api *api = context;
    return atomic_load(&api->stopping);
}

void server_prove(struct api *api, struct connection *connection) {
    pthread_mutex_lock(&api->mutex);
    connection->proven = true;
    connection->busy = true;
    connection->deadline_ns = clock_mono_ns() + api->config.request_s * NSEC_PER_SEC;
    pthread_mutex_unlock(&api->mutex);
}

void server_give_up(struct api *api, struct connection *connection) {
    pthread_mutex_lock(&api->mutex);
    connection->busy = false;
    connection->deadline_ns = clock_mono_ns() + SERVER_REFUSED_S * NSEC_PER_SEC;
    pthread_mutex_unlock(&api->mutex);
}

void server_set_deadline(struct api *api, struct connection *connection, unsigned seconds) {
    pthread_mutex_lock(&api->mutex);
    connection->deadline_ns = seconds ? clock_mono_ns() + seconds * NSEC_PER_SEC : 0;
    pthread_mutex_unlock(&api->mutex);
}
