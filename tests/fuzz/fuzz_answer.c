/* What an engine answers, as the control plane reads it: lines of an answer into plain values. The engine is trusted,
 * but it may be another version, or something else may sit on its socket. */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/engine/actual.h"
#include "backend/host/client.h"

static int take_peer(void *context, const struct actual_peer *peer) {
    (void)context;
    const struct desired_peer *is = &peer->is;
    fuzz_require(is->lan_count <= ROUTER_LANS_MAX);
    return 0;
}

static int take_tenant(void *context, const struct actual_tenant *tenant) {
    (void)context;
    fuzz_require(tenant->is.addressing == ADDRESSING_UNIQUE || tenant->is.addressing == ADDRESSING_PRIVATE);
    return 0;
}

struct readers {
    struct actual_peer_reader peers;
    struct actual_tenant_reader tenants;
    struct actual_device device;
    int verdicts[3];
};

static void note(int *verdict, int rc) {
    fuzz_require(rc == 0 || rc == -EBADMSG);
    *verdict = *verdict ? *verdict : rc;
}

static int take_line(void *context, const char *key, const char *value) {
    struct readers *readers = context;
    note(&readers->verdicts[0], actual_peer_line(&readers->peers, key, value));
    note(&readers->verdicts[1], actual_tenant_line(&readers->tenants, key, value));
    note(&readers->verdicts[2], actual_device_line(&readers->device, key, value));
    return 0;
}

static bool ended(const char *text, size_t size) {
    bool zero = memchr(text, '\0', size) != NULL;
    return zero;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static struct uapi_client client;
    struct readers readers = {.peers = {.fn = take_peer}, .tenants = {.fn = take_tenant}};
    char fault[100];
    int pair[2];
    int error = 0;
    if (size > 60000) { /* what a socket takes without a reader */
        return 0;
    }
    fuzz_require(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    fuzz_require(write(pair[1], bytes, size) == (ssize_t)size);
    close(pair[1]);
    uapi_client_init(&client);
    client.fd = pair[0];
    int rc = uapi_client_receive(&client, take_line, &readers, &error, fault, sizeof fault);
    fuzz_require(rc == 0 || rc == -ECONNRESET || rc == -EBADMSG);
    fuzz_require(rc != 0 || error <= 0);
    note(&readers.verdicts[0], actual_peer_end(&readers.peers));
    note(&readers.verdicts[1], actual_tenant_end(&readers.tenants));
    fuzz_require(ended(readers.device.crypto, sizeof readers.device.crypto));
    fuzz_require(ended(readers.device.offloads, sizeof readers.device.offloads));
    fuzz_require(ended(readers.device.offloads_off, sizeof readers.device.offloads_off));
    fuzz_require(readers.device.hub_count <= sizeof readers.device.hub / sizeof *readers.device.hub);
    uapi_client_close(&client);
    return 0;
}
