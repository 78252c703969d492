/* Every parser of text in model and base: what it accepts must survive being written and read again. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "fuzz.h"
#include "model/key.h"
#include "model/prefix.h"
#include "model/tenant.h"
#include "model/uuid.h"

static void try_addresses(const char *text) {
    struct ip_addr addr, addr_again;
    struct prefix prefix, prefix_again;
    union endpoint endpoint, endpoint_again;
    char written[ENDPOINT_TEXT_SIZE];
    bool had_host_bits;
    if (ip_parse(text, &addr) == 0) {
        fuzz_require(ip_parse(ip_format(&addr, written), &addr_again) == 0 && ip_equal(&addr, &addr_again));
    }
    if (prefix_parse(text, &prefix, &had_host_bits) == 0) {
        fuzz_require(prefix_parse(prefix_format(&prefix, written), &prefix_again, &had_host_bits) == 0 &&
                     !had_host_bits && prefix_equal(&prefix, &prefix_again) &&
                     prefix_compare(&prefix, &prefix_again) == 0);
        fuzz_require(prefix_covers(&prefix, &prefix_again) && prefix_contains(&prefix, &prefix.addr));
    }
    if (endpoint_parse(text, &endpoint) == 0) {
        fuzz_require(endpoint_parse(endpoint_format(&endpoint, written), &endpoint_again) == 0 &&
                     endpoint_equal(&endpoint, &endpoint_again));
    }
}

static void try_keys(const char *text) {
    struct key key;
    char base64[KEY_BASE64_SIZE], hex[KEY_HEX_SIZE];
    if (key_from_base64(text, &key) == 0) {
        fuzz_require(strcmp(key_to_base64(&key, base64), text) == 0);
    }
    if (key_from_hex(text, &key) == 0) {
        fuzz_require(strcasecmp(key_to_hex(&key, hex), text) == 0);
    }
    struct uuid uuid;
    char written[UUID_TEXT_SIZE];
    if (uuid_parse(text, &uuid) == 0) {
        fuzz_require(strcasecmp(uuid_format(&uuid, written), text) == 0);
    }
}

static void try_clock(const char *text) {
    int64_t us, again;
    char written[CLOCK_TEXT_SIZE];
    if (clock_parse(text, &us) == 0) {
        fuzz_require(clock_parse(clock_format(us, written), &again) == 0 && us == again);
        fuzz_require(strncmp(text, written, strlen("2026-01-31T12:34:56")) == 0);
    }
}

/* What a name that was let through may not hold: bytes that a terminal obeys. */
static void try_name(const char *text) {
    if (name_fault(text)) {
        return;
    }
    size_t size = strlen(text);
    fuzz_require(size >= 1 && size < NAME_SIZE);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        fuzz_require(byte >= 0x20 && byte != 0x7f && !(byte == 0xc2 && (unsigned char)text[i + 1] < 0xa0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *text = malloc(size + 1);
    fuzz_require(text != NULL);
    memcpy(text, bytes, size);
    text[size] = '\0';
    try_addresses(text);
    try_keys(text);
    try_clock(text);
    try_name(text);
    free(text);
    return 0;
}
