/* A WireGuard configuration as anybody may have written it: what is accepted is sound. */
#include <stdio.h>
#include <string.h>

#include "cli/import/text.h"
#include "cli/import/wgconf.h"
#include "fuzz.h"

static void check_notes(const struct wgconf *conf, unsigned lines) {
    struct buf said = {0};
    for (size_t i = 0; i < WGCONF_ODDITIES; i++) {
        for (unsigned j = 0; j < conf->notes[i].count && j < WGCONF_NOTE_LINES; j++) {
            fuzz_require(conf->notes[i].lines[j] >= 1 && conf->notes[i].lines[j] <= lines);
        }
    }
    wgconf_notes_format(conf, "", &said);
    buf_free(&said);
}

static void check(const struct wgconf *conf, unsigned lines) {
    fuzz_require(conf->address_count <= WGCONF_ADDRESSES_MAX);
    for (size_t i = 0; i < conf->peer_count; i++) {
        const struct wgconf_peer *peer = &conf->peers[i];
        fuzz_require(peer->line >= 1 && peer->line <= lines);
        fuzz_require(i == 0 || peer->line > conf->peers[i - 1].line);
        fuzz_require(!peer->name[0] || (!name_fault(peer->name) && !text_holds_key(peer->name)));
        fuzz_require(!peer->endpoint_host || (peer->endpoint_host[0] && peer->endpoint_port));
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
        check_notes(conf, lines);
    } else {
        fuzz_require(conf == NULL && fault.size > 0 && strncmp(fault.data, "line ", 5) == 0);
    }
    wgconf_free(conf);
    buf_free(&fault);
    fclose(file);
    return 0;
}
