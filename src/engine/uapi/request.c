/* A request is an operation line (`get=1`, `set=1`), lines of `key=value`, and an empty line. The lines of a set form
 * sections; what a key means and whether it may stand there depends on the section:
 *
 *     set=1 ---> DEVICE --tenant=--> TENANT --tenant=--> TENANT ...
 *                   \                  | ^
 *                    \--public_key=-->PEER --public_key=--> PEER ...      an empty line ends any of them
 *
 * A device key is applied when it is read, a tenant or a peer when its section ends. */
#include "engine/uapi/request.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "engine/engine.h"
#include "engine/uapi/text.h"

enum section {
    SECTION_NONE, /* between requests */
    SECTION_GET,
    SECTION_DEVICE,
    SECTION_TENANT,
    SECTION_PEER,
};

#define ALLOWED_IPS_KEPT 4096 /* memory for so many is kept between requests */

struct uapi_request {
    struct engine *engine; /* borrowed */
    struct engine_caller caller;

    /* what is being read */
    char line[UAPI_LINE_MAX + 1];
    bool line_is_long; /* beyond UAPI_LINE_MAX: the rest of it is dropped */
    bool is_get;
    bool selected;      /* an `only=` was seen */
    bool hub_named;     /* of the device: the list is to be set */
    bool tenant_remove; /* of the open tenant section */
    enum section section;
    size_t line_size;
    uint64_t line_number;    /* in this request */
    uint64_t section_number; /* line that opened the section */

    /* the outcome */
    int error;
    char fault[256];
    struct uapi_selection selection;

    /* the sections' values */
    struct prefix hub[ENGINE_HUB_MAX];
    size_t hub_count;
    struct engine_tenant tenant;
    struct engine_peer_change change;
    struct engine_allowed_ip *allowed_ips; /* owned; change.allowed_ips is set when the section ends */
    size_t allowed_ip_count;
    size_t allowed_ip_room;
};

/* --- faults --- */

static int fail(struct uapi_request *r, uint64_t line, int error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(struct uapi_request *r, uint64_t line, int error, const char *format, ...) {
    va_list args;
    int head = snprintf(r->fault, sizeof r->fault, "line %llu: ", (unsigned long long)line);
    va_start(args, format);
    vsnprintf(r->fault + head, sizeof r->fault - (size_t)head, format, args);
    va_end(args);
    /* The fault may quote the client's own bytes. */
    for (char *at = r->fault; *at; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e) {
            *at = '?';
        }
    }
    r->error = error;
    return error;
}

static int fail_value(struct uapi_request *r, const char *key, const char *wanted) {
    return fail(r, r->line_number, -EINVAL, "%s: %s", key, wanted);
}

/* --- device keys --- */

static int device_private_key(struct uapi_request *r, const char *value) {
    struct key key;
    if (key_from_hex(value, &key) < 0) {
        return fail_value(r, "private_key", "give 64 hexadecimal digits");
    }
    int rc = engine_set_private_key(r->engine, &key);
    sodium_memzero(&key, sizeof key);
    return rc < 0 ? fail(r, r->line_number, rc, "private_key: %s", strerror(-rc)) : 0;
}

static int device_listen_port(struct uapi_request *r, const char *value) {
    uint64_t port;
    if (uapi_text_u64(value, UINT16_MAX, &port) < 0) {
        return fail_value(r, "listen_port", "give a number from 0 to 65535");
    }
    int rc = engine_set_listen_port(r->engine, (uint16_t)port);
    return rc < 0 ? fail(r, r->line_number, rc, "listen_port: UDP port %u: %s", (unsigned)port, strerror(-rc)) : 0;
}

static int device_fwmark(struct uapi_request *r, const char *value) {
    uint64_t mark;
    if (uapi_text_u64(value, UINT32_MAX, &mark) < 0) {
        return fail_value(r, "fwmark", "give a number from 0 to 4294967295");
    }
    int rc = engine_set_fwmark(r->engine, (uint32_t)mark);
    return rc < 0 ? fail(r, r->line_number, rc, "fwmark: %s", strerror(-rc)) : 0;
}

static int device_replace_peers(struct uapi_request *r, const char *value) {
    if (strcmp(value, "true") != 0) {
        return fail_value(r, "replace_peers", "the only value is true");
    }
    int rc = engine_remove_peers(r->engine);
    return rc < 0 ? fail(r, r->line_number, rc, "replace_peers: %s", strerror(-rc)) : 0;
}

static int device_replace_hub(struct uapi_request *r, const char *value) {
    if (strcmp(value, "true") != 0) {
        return fail_value(r, "replace_hub", "the only value is true");
    }
    r->hub_named = true;
    r->hub_count = 0;
    return 0;
}

static int device_hub(struct uapi_request *r, const char *value) {
    struct prefix prefix;
    bool had_host_bits;
    if (prefix_parse(value, &prefix, &had_host_bits) < 0 || had_host_bits) {
        return fail_value(r, "hub", "give a prefix without host bits, as 10.0.0.1/32");
    }
    if (r->hub_count == ENGINE_HUB_MAX) {
        return fail(r, r->line_number, -E2BIG, "hub: at most %d prefixes", ENGINE_HUB_MAX);
    }
    r->hub_named = true;
    r->hub[r->hub_count++] = prefix;
    return 0;
}

static int device_sallyport(struct uapi_request *r, const char *value) {
    if (strcmp(value, "1") != 0) {
        return fail_value(r, "sallyport", "the only value is 1");
    }
    r->selection.extended = true;
    return 0;
}

/* --- tenant keys --- */

static int tenant_remove(struct uapi_request *r, const char *value) {
    if (strcmp(value, "true") != 0) {
        return fail_value(r, "remove", "the only value is true");
    }
    r->tenant_remove = true;
    return 0;
}

static int tenant_addressing(struct uapi_request *r, const char *value) {
    return addressing_parse(value, &r->tenant.addressing) < 0 ? fail_value(r, "addressing", "give unique or private")
                                                              : 0;
}

static int tenant_egress(struct uapi_request *r, const char *value) {
    return uapi_text_bool(value, &r->tenant.egress) < 0 ? fail_value(r, "egress", "give true or false") : 0;
}

static int tenant_bits(struct uapi_request *r, const char *value) {
    return uapi_text_u64(value, UINT64_MAX, &r->tenant.limits.bits_per_second) < 0
               ? fail_value(r, "limit_bits_per_second", "give a number, 0 for no limit")
               : 0;
}

static int tenant_packets(struct uapi_request *r, const char *value) {
    return uapi_text_u64(value, UINT64_MAX, &r->tenant.limits.packets_per_second) < 0
               ? fail_value(r, "limit_packets_per_second", "give a number, 0 for no limit")
               : 0;
}

/* --- peer keys --- */

static int peer_flag(struct uapi_request *r, const char *key, const char *value, bool *ret_flag) {
    if (strcmp(value, "true") != 0) {
        return fail_value(r, key, "the only value is true");
    }
    *ret_flag = true;
    return 0;
}

static int peer_remove(struct uapi_request *r, const char *value) {
    return peer_flag(r, "remove", value, &r->change.remove);
}

static int peer_update_only(struct uapi_request *r, const char *value) {
    return peer_flag(r, "update_only", value, &r->change.update_only);
}

static int peer_replace_allowed_ips(struct uapi_request *r, const char *value) {
    return peer_flag(r, "replace_allowed_ips", value, &r->change.replace_allowed_ips);
}

static int peer_preshared_key(struct uapi_request *r, const char *value) {
    if (key_from_hex(value, &r->change.preshared_key) < 0) {
        return fail_value(r, "preshared_key", "give 64 hexadecimal digits");
    }
    r->change.has_preshared_key = true;
    return 0;
}

static int peer_endpoint(struct uapi_request *r, const char *value) {
    if (uapi_text_endpoint(value, &r->change.endpoint) < 0) {
        return fail_value(r, "endpoint", "give ADDRESS:PORT or [ADDRESS]:PORT, numeric");
    }
    r->change.has_endpoint = true;
    r->change.endpoint_if_unknown = false;
    return 0;
}

static int peer_keepalive(struct uapi_request *r, const char *value) {
    uint64_t seconds;
    if (uapi_text_u64(value, UINT16_MAX, &seconds) < 0) {
        return fail_value(r, "persistent_keepalive_interval", "give a number of seconds from 0 to 65535");
    }
    r->change.keepalive_s = (uint16_t)seconds;
    r->change.has_keepalive = true;
    return 0;
}

static int peer_protocol_version(struct uapi_request *r, const char *value) {
    return strcmp(value, "1") != 0 ? fail_value(r, "protocol_version", "the only version is 1") : 0;
}

static int make_allowed_ip_room(struct uapi_request *r) {
    if (r->allowed_ip_count == UAPI_ALLOWED_IPS_MAX) {
        return fail(r, r->line_number, -E2BIG, "allowed_ip: at most %u in one section", UAPI_ALLOWED_IPS_MAX);
    }
    struct engine_allowed_ip *all =
        array_grow(r->allowed_ips, &r->allowed_ip_room, r->allowed_ip_count + 1, sizeof *all);
    if (!all) {
        return fail(r, r->line_number, -ENOMEM, "allowed_ip: out of memory");
    }
    r->allowed_ips = all;
    return 0;
}

static int peer_allowed_ip(struct uapi_request *r, const char *value) {
    struct engine_allowed_ip allowed = {.remove = *value == '-'};
    if (prefix_parse(value + allowed.remove, &allowed.prefix, NULL) < 0) {
        return fail_value(r, "allowed_ip", "give a prefix, as 10.0.0.0/24, with a - in front to take it away");
    }
    int rc = make_allowed_ip_room(r);
    if (rc == 0) {
        r->allowed_ips[r->allowed_ip_count++] = allowed;
    }
    return rc;
}

static int peer_tenant(struct uapi_request *r, const char *value) {
    if (uuid_parse(value, &r->change.tenant) < 0) {
        return fail_value(r, "peer_tenant", "give a UUID, all zeros for none");
    }
    r->change.has_tenant = true;
    return 0;
}

static int peer_hub_address(struct uapi_request *r, const char *value) {
    struct engine_peer_change *change = &r->change;
    struct engine_hub_address address;
    if (*value && uapi_text_hub_address(value, &address) < 0) {
        return fail_value(r, "hub_address", "give ADDRESS or HUB=INSIDE, both of one family, or nothing to clear");
    }
    if (!*value) {
        change->hub_address_count = 0;
        change->has_hub_addresses = true;
        return 0;
    }
    if (change->hub_address_count == 2 ||
        (change->hub_address_count == 1 && change->hub_addresses[0].hub.family == address.hub.family)) {
        return fail_value(r, "hub_address", "at most one of each family");
    }
    change->hub_addresses[change->hub_address_count++] = address;
    change->has_hub_addresses = true;
    return 0;
}

static int peer_last_endpoint(struct uapi_request *r, const char *value) {
    if (r->change.has_endpoint) {
        return fail_value(r, "last_endpoint", "endpoint= is given already, and counts more");
    }
    if (uapi_text_endpoint(value, &r->change.endpoint) < 0) {
        return fail_value(r, "last_endpoint", "give ADDRESS:PORT or [ADDRESS]:PORT, numeric");
    }
    r->change.has_endpoint = true;
    r->change.endpoint_if_unknown = true;
    return 0;
}

static int peer_reset_timestamp(struct uapi_request *r, const char *value) {
    return peer_flag(r, "reset_timestamp", value, &r->change.reset_timestamp);
}

static int peer_timestamp(struct uapi_request *r, const char *value) {
    if (uapi_text_timestamp(value, r->change.timestamp) < 0) {
        return fail_value(r, "timestamp", "give 24 hexadecimal digits (TAI64N)");
    }
    r->change.has_timestamp = true;
    return 0;
}

/* --- keys of a get --- */

static int get_extended_only(struct uapi_request *r, const char *key) {
    return r->selection.extended ? 0 : fail_value(r, key, "say sallyport=1 first");
}

static int get_since(struct uapi_request *r, const char *value) {
    int rc = get_extended_only(r, "since");
    if (rc == 0 && uapi_text_u64(value, UINT64_MAX, &r->selection.since_ns) < 0) {
        return fail_value(r, "since", "give nanoseconds, as `now=` of an earlier answer");
    }
    return rc;
}

static int get_only(struct uapi_request *r, const char *value) {
    struct uapi_selection *s = &r->selection;
    int rc = get_extended_only(r, "only");
    if (rc < 0) {
        return rc;
    }
    if (!r->selected) {
        s->device = s->tenants = s->peers = s->counters = s->workers = false;
        r->selected = true;
    }
    if (strcmp(value, "device") == 0) {
        s->device = true;
    } else if (strcmp(value, "tenants") == 0) {
        s->tenants = true;
    } else if (strcmp(value, "peers") == 0) {
        s->peers = true;
    } else if (strcmp(value, "counters") == 0) {
        s->counters = true;
    } else if (strcmp(value, "workers") == 0) {
        s->workers = true;
    } else {
        return fail_value(r, "only", "give device, tenants, peers, counters or workers");
    }
    return 0;
}

static int get_sallyport(struct uapi_request *r, const char *value) {
    int rc = device_sallyport(r, value);
    if (rc == 0 && !r->selected) {
        r->selection.device = r->selection.tenants = r->selection.peers = r->selection.counters = true;
    }
    return rc;
}

/* --- sections --- */

struct word {
    const char *key;
    int (*read)(struct uapi_request *r, const char *value);
};

static const struct word get_words[] = {
    {"sallyport", get_sallyport},
    {"since", get_since},
    {"only", get_only},
    {NULL, NULL},
};

static const struct word device_words[] = {
    {"private_key", device_private_key},
    {"listen_port", device_listen_port},
    {"fwmark", device_fwmark},
    {"replace_peers", device_replace_peers},
    {"hub", device_hub},
    {"replace_hub", device_replace_hub},
    {"sallyport", device_sallyport},
    {NULL, NULL},
};

static const struct word tenant_words[] = {
    {"addressing", tenant_addressing},
    {"egress", tenant_egress},
    {"limit_bits_per_second", tenant_bits},
    {"limit_packets_per_second", tenant_packets},
    {"remove", tenant_remove},
    {NULL, NULL},
};

static const struct word peer_words[] = {
    {"allowed_ip", peer_allowed_ip},
    {"preshared_key", peer_preshared_key},
    {"replace_allowed_ips", peer_replace_allowed_ips},
    {"peer_tenant", peer_tenant},
    {"hub_address", peer_hub_address},
    {"endpoint", peer_endpoint},
    {"persistent_keepalive_interval", peer_keepalive},
    {"last_endpoint", peer_last_endpoint},
    {"timestamp", peer_timestamp},
    {"reset_timestamp", peer_reset_timestamp},
    {"remove", peer_remove},
    {"update_only", peer_update_only},
    {"protocol_version", peer_protocol_version},
    {NULL, NULL},
};

static const struct {
    const struct word *words;
    const char *name;
} sections[] = {
    [SECTION_NONE] = {NULL, ""},
    [SECTION_GET] = {get_words, "of a get"},
    [SECTION_DEVICE] = {device_words, "of the device"},
    [SECTION_TENANT] = {tenant_words, "of a tenant"},
    [SECTION_PEER] = {peer_words, "of a peer"},
};

static int close_device(struct uapi_request *r) {
    int rc = r->hub_named ? engine_set_hub(r->engine, r->hub, r->hub_count) : 0;
    r->hub_named = false;
    return rc < 0 ? fail(r, r->section_number, rc, "hub: %s", strerror(-rc)) : 0;
}

static int close_tenant(struct uapi_request *r) {
    char id[UUID_TEXT_SIZE];
    int rc;
    if (r->tenant_remove) {
        rc = engine_tenant_remove(r->engine, &r->tenant.id);
        rc = rc == -ENOENT ? 0 : rc; /* as for peers: gone is gone */
    } else {
        rc = engine_tenant_set(r->engine, &r->caller, &r->tenant);
    }
    if (rc == -EBUSY) {
        return fail(r, r->section_number, rc, "tenant %s: its addressing is fixed while it has peers",
                    uuid_format(&r->tenant.id, id));
    }
    return rc < 0 ? fail(r, r->section_number, rc, "tenant %s: %s", uuid_format(&r->tenant.id, id), strerror(-rc)) : 0;
}

static int close_peer(struct uapi_request *r) {
    r->change.allowed_ips = r->allowed_ips;
    r->change.allowed_ip_count = r->allowed_ip_count;
    int rc = engine_peer_change(r->engine, &r->caller, &r->change);
    sodium_memzero(&r->change.preshared_key, sizeof r->change.preshared_key);
    if (rc == -ENOENT) {
        return fail(r, r->section_number, rc, "peer_tenant: no such tenant; set it before its peers");
    }
    return rc < 0 ? fail(r, r->section_number, rc, "public_key: the peer was refused: %s", strerror(-rc)) : 0;
}

/* What was said of the open section takes effect. */
static int close_section(struct uapi_request *r) {
    switch (r->section) {
    case SECTION_NONE:
    case SECTION_GET:
        return 0;
    case SECTION_DEVICE:
        return close_device(r);
    case SECTION_TENANT:
        return close_tenant(r);
    case SECTION_PEER:
        return close_peer(r);
    }
    return 0;
}

static int open_peer(struct uapi_request *r, const char *value) {
    struct key key;
    if (key_from_hex(value, &key) < 0) {
        return fail_value(r, "public_key", "give 64 hexadecimal digits");
    }
    memset(&r->change, 0, sizeof r->change);
    r->change.public_key = key;
    r->allowed_ip_count = 0;
    r->section = SECTION_PEER;
    r->section_number = r->line_number;
    return 0;
}

static int open_tenant(struct uapi_request *r, const char *value) {
    struct uuid id;
    if (uuid_parse(value, &id) < 0 || uuid_is_zero(&id)) {
        return fail_value(r, "tenant", "give a UUID other than zero");
    }
    r->tenant = (struct engine_tenant){.id = id};
    r->tenant_remove = false;
    r->section = SECTION_TENANT;
    r->section_number = r->line_number;
    return 0;
}

static int read_pair(struct uapi_request *r, const char *key, const char *value) {
    bool peer = strcmp(key, "public_key") == 0;
    bool tenant = strcmp(key, "tenant") == 0;
    if (r->section != SECTION_GET && (peer || tenant)) {
        int rc = close_section(r);
        return rc < 0 ? rc : peer ? open_peer(r, value) : open_tenant(r, value);
    }
    for (const struct word *word = sections[r->section].words; word->key; word++) {
        if (strcmp(word->key, key) == 0) {
            return word->read(r, value);
        }
    }
    return fail(r, r->line_number, -EINVAL, "%.64s: no key %s", key, sections[r->section].name);
}

/* --- requests --- */

/* The first line of a request. One that is not an operation is answered like a set that failed, once its empty line
 * came.
 */
static void begin_request(struct uapi_request *r, const char *key, const char *value) {
    r->error = 0;
    r->line_number = 1;
    r->section_number = 1;
    r->selection = (struct uapi_selection){.device = true, .peers = true};
    r->selected = false;
    r->hub_named = false;
    r->hub_count = 0;
    r->is_get = strcmp(key, "get") == 0;
    r->section = r->is_get ? SECTION_GET : SECTION_DEVICE;
    if ((!r->is_get && strcmp(key, "set") != 0) || strcmp(value, "1") != 0) {
        fail(r, 1, -EINVAL, "a request begins with get=1 or set=1");
    }
}

static enum uapi_event end_request(struct uapi_request *r) {
    if (!r->error) {
        close_section(r);
    }
    /* Also after a fault: what stood before it must not be left half in force. */
    int rc = r->is_get ? 0 : engine_flush(r->engine, &r->caller);
    if (rc < 0 && !r->error) {
        fail(r, r->line_number, rc, "the changes could not be applied: %s", strerror(-rc));
    }
    sodium_memzero(&r->change.preshared_key, sizeof r->change.preshared_key);
    if (r->allowed_ip_room > ALLOWED_IPS_KEPT) {
        free(r->allowed_ips);
        r->allowed_ips = NULL;
        r->allowed_ip_count = r->allowed_ip_room = 0;
    }
    r->section = SECTION_NONE;
    return r->is_get ? UAPI_EVENT_GET : UAPI_EVENT_SET;
}

static enum uapi_event read_line(struct uapi_request *r) {
    const char *key = "";
    const char *value = "";
    if (r->line_size == 0 && !r->line_is_long) {
        return r->section == SECTION_NONE ? UAPI_EVENT_NONE : end_request(r);
    }
    bool sound = !r->line_is_long && !memchr(r->line, '\0', r->line_size);
    r->line[r->line_size] = '\0';
    sound = sound && uapi_text_split(r->line, &key, &value) == 0;
    if (r->section == SECTION_NONE) {
        begin_request(r, key, value);
        return UAPI_EVENT_NONE;
    }
    r->line_number++;
    if (r->error) {
        return UAPI_EVENT_NONE;
    }
    if (!sound) {
        fail(r, r->line_number, -EINVAL, "not a line of the form key=value with at most %d bytes", UAPI_LINE_MAX);
    } else {
        read_pair(r, key, value);
    }
    return UAPI_EVENT_NONE;
}

int uapi_request_create(struct engine *engine, struct uapi_request **ret_request) {
    struct uapi_request *r = calloc(1, sizeof *r);
    if (!r) {
        return -ENOMEM;
    }
    r->engine = engine;
    *ret_request = r;
    return 0;
}

void uapi_request_free(struct uapi_request *request) {
    if (!request) {
        return;
    }
    if (request->section != SECTION_NONE && request->section != SECTION_GET) {
        engine_flush(request->engine, &request->caller);
    }
    free(request->allowed_ips);
    sodium_memzero(request, sizeof *request);
    free(request);
}

enum uapi_event uapi_request_feed(struct uapi_request *request, const char *bytes, size_t size, size_t *ret_used) {
    struct uapi_request *r = request;
    size_t used = 0;
    enum uapi_event event = UAPI_EVENT_NONE;
    while (used < size && event == UAPI_EVENT_NONE) {
        const char *from = bytes + used;
        const char *newline = memchr(from, '\n', size - used);
        size_t part = newline ? (size_t)(newline - from) : size - used;
        if (part > UAPI_LINE_MAX - r->line_size) {
            r->line_is_long = true;
        } else {
            memcpy(r->line + r->line_size, from, part);
            r->line_size += part;
        }
        used += part;
        if (newline) {
            used++;
            event = read_line(r);
            sodium_memzero(r->line, r->line_size);
            r->line_size = 0;
            r->line_is_long = false;
        }
    }
    *ret_used = used;
    return event;
}

int uapi_request_error(const struct uapi_request *request) {
    return request->error;
}

const char *uapi_request_fault(const struct uapi_request *request) {
    return request->error && request->selection.extended ? request->fault : NULL;
}

const struct uapi_selection *uapi_request_selection(const struct uapi_request *request) {
    return &request->selection;
}
