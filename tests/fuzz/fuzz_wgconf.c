/* A WireGuard configuration as anybody may have written it: what is accepted is sound. */
#include <stdio.h>
#include <string.h>

#include "cli/import/wgconf.h"
#include "fuzz.h"

static void check(const struct wgconf *conf, unsigned lines) {
    fuzz_require(conf->address_count <= WGCONF_ADDRESSES_MAX);
    for (size_t i = 0; i < conf->peer_count; i++) {
        const struct wgconf_peer *peer = &conf->peers[i];
        fuzz_require(peer->line >= 1 && peer->line <= lines);
        fuzz_require(i == 0 || peer->line > conf->peers[i - 1].line);
        fuzz_require(!peer->name[0] || !name_fault(peer->name));
        for (size_t j = 0; j < peer->allowed_count; j++) {
            struct prefix clean = prefix_make(&peer->allowed[j].addr, peer->allowed[j].length);
            fuzz_require(prefix_equal(&clean, &peer->allowed[j]));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct wgconf *conf = NULL;
    struct buf fault = {0};
    unsigned lines = 1;
    FILE *file = size ? fmemopen((void *)(uintptr_t)bytes, size, "r") : NULL;
    if (!file) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        lines += bytes[i] == '\n';
    }
    if (wgconf_read(file, &conf, &fault) == 0) {
        check(conf, lines);
    } else {
        fuzz_require(conf == NULL && fault.size > 0 && strncmp(fault.data, "line ", 5) == 0);
    }
    wgconf_free(conf);
    buf_free(&fault);
    fclose(file);
    return 0;
}
