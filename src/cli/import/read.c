#include "cli/import/read.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import/text.h"
#include "cli/show/field.h"

#define LINE_MAX_BYTES (4u << 20)
#define COLUMNS_MAX 32
#define ITEM_ROWS 2000 /* routers and LANs */

/* The columns of a CSV file: where in the API's objects their values go. */
enum column_kind {
    COLUMN_TENANT_NAME,
    COLUMN_TENANT_TEXT,
    COLUMN_TENANT_FLAG,
    COLUMN_ROUTER_TEXT,
    COLUMN_ROUTER_LIST, /* separated by ";" or blanks */
};

static const struct column {
    const char *name, *field;
    enum column_kind kind;
} columns[] = {
    {"tenant", "name", COLUMN_TENANT_NAME},
    {"tenant_id", "id", COLUMN_TENANT_TEXT},
    {"addressing", "addressing", COLUMN_TENANT_TEXT},
    {"subnet", "subnet", COLUMN_TENANT_TEXT},
    {"egress", "egress", COLUMN_TENANT_FLAG},
    {"router", "name", COLUMN_ROUTER_TEXT},
    {"router_id", "id", COLUMN_ROUTER_TEXT},
    {"public_key", "public_key", COLUMN_ROUTER_TEXT},
    {"preshared_key", "preshared_key", COLUMN_ROUTER_TEXT},
    {"address", "address", COLUMN_ROUTER_TEXT},
    {"lans", "lans", COLUMN_ROUTER_LIST},
};

struct import_reader {
    FILE *file;
    enum import_format format;
    bool into_existing;
    char *text; /* the current line or CSV record */
    size_t size, room;
    unsigned line;        /* of the next line, from 1 */
    unsigned record_line; /* where the record in `text` begins */
    size_t bytes;
    bool begun;
    const struct column *columns[COLUMNS_MAX];
    size_t column_count;
    struct import_item ahead; /* CSV: a tenant whose rows may go on */
};

struct import_reader *import_reader_make(FILE *file, enum import_format format, bool into_existing) {
    struct import_reader *r = calloc(1, sizeof *r);
    if (r) {
        r->file = file;
        r->format = format;
        r->into_existing = into_existing;
        r->line = 1;
    }
    return r;
}

void import_reader_free(struct import_reader *r) {
    if (r) {
        import_item_free(&r->ahead);
        if (r->text) {
            explicit_bzero(r->text, r->room);
        }
        free(r->text);
        free(r);
    }
}

void import_item_free(struct import_item *item) {
    json_decref(item->body);
    free(item->tenant);
    *item = (struct import_item){0};
}

size_t import_reader_bytes(const struct import_reader *r) {
    return r->bytes;
}

static int record_put(struct import_reader *r, char c) {
    if (r->size + 1 >= r->room) {
        size_t room = r->room ? r->room * 2 : 4096;
        char *text = room > 2 * LINE_MAX_BYTES ? NULL : realloc(r->text, room);
        if (!text) {
            return -ENOMEM;
        }
        r->text = text;
        r->room = room;
    }
    r->text[r->size++] = c;
    r->text[r->size] = '\0';
    return 0;
}

/* Reads one line, or for CSV one record, whose quoted fields may span lines. 1, 0 at the end, or -errno. */
static int record_read(struct import_reader *r, struct buf *fault) {
    bool quoted = false, any = false;
    r->size = 0;
    r->record_line = r->line;
    if (record_put(r, '\0') < 0) {
        return -ENOMEM;
    }
    r->size = 0;
    for (int c; (c = getc(r->file)) != EOF;) {
        any = true;
        r->bytes++;
        r->line += c == '\n';
        if (c == '\n' && !quoted) {
            break;
        }
        quoted ^= r->format == IMPORT_CSV && c == '"';
        if (c == '\0' || r->size >= LINE_MAX_BYTES || record_put(r, (char)c) < 0) {
            buf_printf(fault, "line %u: %s", r->record_line,
                       c == '\0' ? "holds a NUL byte; is this a text file in UTF-8?" : "is longer than 4 MiB");
            return -EINVAL;
        }
    }
    if (ferror(r->file)) {
        buf_printf(fault, "the file cannot be read: %s", strerror(errno));
        return -EIO;
    }
    if (quoted) {
        buf_printf(fault, "line %u: a quote is opened and never closed", r->record_line);
        return -EINVAL;
    }
    if (r->size && r->text[r->size - 1] == '\r') {
        r->text[--r->size] = '\0';
    }
    return any;
}

/* Skips a byte order mark, which spreadsheets and editors write. 0, or -EINVAL: this is UTF-16. */
static int begin(struct import_reader *r, struct buf *fault) {
    char first[4];
    long at = ftell(r->file);
    size_t size = fread(first, 1, sizeof first - 1, r->file);
    first[size] = '\0';
    r->begun = true;
    if (text_is_utf16(first, size)) {
        buf_text(fault, "line 1: this file is in UTF-16; save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8");
        return -EINVAL;
    }
    r->bytes = text_mark_size(first);
    return fseek(r->file, at + (long)r->bytes, SEEK_SET) < 0 ? -EIO : 0;
}

/* Says more of a fault, if the text holds what nobody sees. */
static void fault_unseen(const char *text, struct buf *fault) {
    const char *unseen = text_invisible(text);
    if (unseen) {
        buf_printf(fault, "; the line holds a %s, which cannot be seen: type it anew", unseen);
    }
}

static bool makes_keys(const json_t *router) {
    return !field_text(router, "public_key")[0] || strcmp(field_text(router, "preshared_key"), "generate") == 0;
}

static void item_count(struct import_item *item) {
    if (item->tenant) {
        item->routers = 1;
        item->makes_keys = makes_keys(item->body);
        return;
    }
    size_t i;
    const json_t *router, *routers = json_object_get(item->body, "routers");
    item->routers = json_array_size(routers);
    item->makes_keys = false;
    json_array_foreach(routers, i, router) {
        item->makes_keys = item->makes_keys || makes_keys(router);
    }
}

static int json_next(struct import_reader *r, struct import_item *ret_item, struct buf *fault) {
    int more;
    do {
        more = record_read(r, fault);
        if (more <= 0) {
            return more;
        }
    } while (strspn(r->text, " \t") == r->size);
    json_error_t error;
    json_t *body = json_loadb(r->text, r->size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(body)) {
        buf_printf(fault, "line %u: not a JSON object%s%s", r->record_line, body ? "" : ": ", body ? "" : error.text);
        fault_unseen(r->text, fault);
        json_decref(body);
        return -EINVAL;
    }
    *ret_item = (struct import_item){.body = body, .line = r->record_line};
    const json_t *tenant = json_object_get(body, "tenant");
    if (tenant) {
        ret_item->tenant = json_is_string(tenant) ? strdup(json_string_value(tenant)) : NULL;
        if (!ret_item->tenant) {
            buf_printf(fault, "line %u: \"tenant\" must be the name or UUID of a tenant", r->record_line);
            import_item_free(ret_item);
            return -EINVAL;
        }
        json_object_del(body, "tenant");
    }
    item_count(ret_item);
    return 1;
}

/* Takes the next field off a record in place: "a ""b""",c. `*at` becomes NULL behind the last one. */
static char *csv_field(char **at) {
    char *begin = *at, *out = begin, *in = begin;
    bool quoted = false;
    for (; *in && (quoted || *in != ','); in++) {
        if (*in != '"') {
            *out++ = *in;
        } else if (quoted && in[1] == '"') {
            *out++ = *in++;
        } else {
            quoted = !quoted;
        }
    }
    *at = *in ? in + 1 : NULL;
    *out = '\0';
    return begin;
}

static int csv_header(struct import_reader *r, struct buf *fault) {
    int more = record_read(r, fault);
    bool tenant = false, router = false;
    if (more <= 0) {
        if (more == 0) {
            buf_text(fault, "the file is empty");
        }
        return more < 0 ? more : -EINVAL;
    }
    char *at = r->text;
    while (at) {
        const char *name = csv_field(&at);
        const struct column *found = NULL;
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            if (strcmp(columns[i].name, name) == 0) {
                found = &columns[i];
            }
        }
        if (!found || r->column_count == COLUMNS_MAX) {
            buf_printf(fault, "line 1: \"%s\" is not a column", name);
            fault_unseen(name, fault);
            buf_text(fault, "; there are: ");
            for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
                buf_printf(fault, "%s%s", i ? ", " : "", columns[i].name);
            }
            return -EINVAL;
        }
        tenant = tenant || found->kind == COLUMN_TENANT_NAME;
        router = router || strcmp(found->name, "router") == 0;
        r->columns[r->column_count++] = found;
    }
    if (!tenant || (r->into_existing && !router)) {
        buf_printf(fault, "line 1: a column \"%s\" is needed", tenant ? "router" : "tenant");
        return -EINVAL;
    }
    return 0;
}

static json_t *list_of(char *text) {
    json_t *list = json_array();
    char *rest = NULL;
    for (char *word = strtok_r(text, "; \t", &rest); word; word = strtok_r(NULL, "; \t", &rest)) {
        json_array_append_new(list, json_string(word));
    }
    return list;
}

static int flag_of(const char *text, json_t **ret_flag) {
    if (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "1") == 0) {
        *ret_flag = json_true();
    } else if (strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "0") == 0) {
        *ret_flag = json_false();
    } else {
        return -EINVAL;
    }
    return 0;
}

/* One field of a row into its object. 0, or -EINVAL. */
static int csv_value(const struct column *column, char *text, json_t *tenant, json_t *router) {
    json_t *value = NULL;
    bool of_router = column->kind == COLUMN_ROUTER_TEXT || column->kind == COLUMN_ROUTER_LIST;
    if (!text[0]) {
        return 0; /* empty: not given */
    }
    switch (column->kind) {
    case COLUMN_TENANT_NAME:
    case COLUMN_TENANT_TEXT:
    case COLUMN_ROUTER_TEXT:
        value = json_string(text);
        break;
    case COLUMN_TENANT_FLAG:
        if (flag_of(text, &value) < 0) {
            return -EINVAL;
        }
        break;
    case COLUMN_ROUTER_LIST:
        value = list_of(text);
        break;
    }
    return value && json_object_set_new(of_router ? router : tenant, column->field, value) == 0 ? 0 : -EINVAL;
}

/* One row as a tenant's and a router's object (empty if the row has no router). 1, 0 at the end, or -errno. */
static int csv_row(struct import_reader *r, json_t **ret_tenant, json_t **ret_router, struct buf *fault) {
    int more;
    do {
        more = record_read(r, fault);
        if (more <= 0) {
            return more;
        }
    } while (r->size == 0);
    json_t *tenant = json_object(), *router = json_object();
    size_t count = 0;
    for (char *at = r->text; at; count++) {
        char *text = csv_field(&at);
        if (count < r->column_count && csv_value(r->columns[count], text, tenant, router) < 0) {
            buf_printf(fault, "line %u: column %s: \"%s\" cannot stand there", r->record_line, r->columns[count]->name,
                       text);
            fault_unseen(text, fault);
            goto fail;
        }
    }
    if (count != r->column_count) {
        buf_printf(fault, "line %u: has %zu fields, the first line names %zu columns", r->record_line, count,
                   r->column_count);
        goto fail;
    }
    if (!field_text(tenant, "name")[0]) {
        buf_printf(fault, "line %u: the tenant's name is missing", r->record_line);
        goto fail;
    }
    *ret_tenant = tenant;
    *ret_router = router;
    return 1;
fail:
    json_decref(tenant);
    json_decref(router);
    return -EINVAL;
}

/* A row of the tenant that is being gathered: same name and, if it says more about the tenant, the same. */
static bool continues(const struct import_item *item, const json_t *tenant) {
    const char *key;
    json_t *value;
    if (!item->body) {
        return false;
    }
    json_object_foreach((json_t *)tenant, key, value) {
        if (!json_equal(json_object_get(item->body, key), value)) {
            return false;
        }
    }
    return true;
}

static int csv_next(struct import_reader *r, struct import_item *ret_item, struct buf *fault) {
    json_t *tenant, *router;
    int more = r->column_count ? 0 : csv_header(r, fault);
    if (more < 0) {
        return more;
    }
    while ((more = csv_row(r, &tenant, &router, fault)) > 0) {
        if (r->into_existing) {
            *ret_item = (struct import_item){
                .body = router, .tenant = strdup(field_text(tenant, "name")), .line = r->record_line};
            json_decref(tenant);
            item_count(ret_item);
            return 1;
        }
        struct import_item whole = {0};
        if (!continues(&r->ahead, tenant)) {
            whole = r->ahead;
            r->ahead = (struct import_item){.body = json_incref(tenant), .line = r->record_line};
            json_object_set_new(r->ahead.body, "routers", json_array());
        }
        if (json_object_size(router)) {
            json_array_append(json_object_get(r->ahead.body, "routers"), router);
        }
        json_decref(tenant);
        json_decref(router);
        if (whole.body) {
            *ret_item = whole;
            item_count(ret_item);
            return 1;
        }
    }
    if (more < 0 || !r->ahead.body) {
        return more;
    }
    *ret_item = r->ahead;
    r->ahead = (struct import_item){0};
    item_count(ret_item);
    return 1;
}

int import_reader_next(struct import_reader *r, struct import_item *ret_item, struct buf *fault) {
    int error = r->begun ? 0 : begin(r, fault);
    if (error < 0) {
        return error;
    }
    switch (r->format) {
    case IMPORT_JSON_LINES:
        return json_next(r, ret_item, fault);
    case IMPORT_CSV:
        return csv_next(r, ret_item, fault);
    }
    return -EINVAL;
}

int import_item_identify(struct import_item *item) {
    static const char domain[] = "sallyport import 1";
    if (json_object_get(item->body, "id")) {
        return 0;
    }
    char *text = json_dumps(item->body, JSON_COMPACT | JSON_SORT_KEYS);
    crypto_generichash_state state;
    struct uuid id;
    char id_text[UUID_TEXT_SIZE];
    if (!text) {
        return -ENOMEM;
    }
    crypto_generichash_init(&state, (const unsigned char *)domain, sizeof domain, sizeof id.bytes);
    if (item->tenant) {
        crypto_generichash_update(&state, (const unsigned char *)item->tenant, strlen(item->tenant) + 1);
    }
    if (item->place) { /* a tenant may have several that look alike */
        crypto_generichash_update(&state, (const unsigned char *)&item->place, sizeof item->place);
    }
    crypto_generichash_update(&state, (const unsigned char *)text, strlen(text));
    crypto_generichash_final(&state, id.bytes, sizeof id.bytes);
    sodium_memzero(text, strlen(text));
    free(text);
    /* RFC 9562, 5.8: version 8 is for identifiers made by rules of one's own */
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x80);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    json_object_set_new(item->body, "id", json_string(uuid_format(&id, id_text)));
    return 0;
}

int import_item_split(struct import_item *item, struct import_item **ret_rest, size_t *ret_count) {
    json_t *routers = item->tenant ? NULL : json_object_get(item->body, "routers");
    size_t count = json_array_size(routers), fits = 0, rows = 0;
    bool failed = false;
    for (; fits < count; fits++) {
        rows += 1 + json_array_size(json_object_get(json_array_get(routers, fits), "lans"));
        if (rows > ITEM_ROWS) {
            break;
        }
    }
    struct import_item *rest = fits < count ? calloc(count - fits, sizeof *rest) : NULL;
    if (fits < count && !rest) {
        return -ENOMEM;
    }
    for (size_t i = fits; i < count; i++) {
        rest[i - fits] = (struct import_item){.body = json_incref(json_array_get(routers, i)),
                                              .tenant = strdup(field_text(item->body, "id")),
                                              .line = item->line,
                                              .place = i + 1};
        item_count(&rest[i - fits]);
        failed = failed || !rest[i - fits].tenant;
    }
    if (failed) {
        for (size_t i = 0; i < count - fits; i++) {
            import_item_free(&rest[i]);
        }
        free(rest);
        return -ENOMEM;
    }
    while (json_array_size(routers) > fits) {
        json_array_remove(routers, json_array_size(routers) - 1);
    }
    item_count(item);
    *ret_rest = rest;
    *ret_count = count - fits;
    return 0;
}
