#include "cli/talk/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/field.h"
#include "cli/talk/client.h"
#include "cli/talk/pages.h"

/* The UUID in canonical form if `text` is one. */
static bool as_uuid(const char *text, char ret_id[UUID_TEXT_SIZE]) {
    struct uuid id;
    if (uuid_parse(text, &id) < 0) {
        return false;
    }
    uuid_format(&id, ret_id);
    return true;
}

/* How many things of that list have exactly this name (2: two or more), -1 after an error. The first's id in `ret_id`.
 */
static int named(struct cli *cli, const char *list, const char *tenant_id, const char *name,
                 char ret_id[UUID_TEXT_SIZE]) {
    struct buf path = {0};
    buf_text(&path, list);
    client_query(&path, "tenant_id", tenant_id);
    client_query(&path, "name", name);
    client_query(&path, "limit", "2");
    json_t *answer = path.failed ? NULL : client_json(cli, "GET", path.data, NULL);
    buf_free(&path);
    if (!answer) {
        return -1;
    }
    const json_t *items = json_object_get(answer, "items");
    size_t count = json_array_size(items);
    if (count && !as_uuid(field_text(json_array_get(items, 0), "id"), ret_id)) {
        count = 0;
    }
    json_decref(answer);
    return (int)count;
}

/* Whether a name could exist at all: asking the API for another is an error of its own kind. */
static bool may_be_name(const char *text) {
    return text[0] && strlen(text) <= 128;
}

int lookup_tenant(struct cli *cli, const char *text, char ret_id[UUID_TEXT_SIZE]) {
    if (as_uuid(text, ret_id)) {
        return 0;
    }
    int count = may_be_name(text) ? named(cli, "/v1/tenants", NULL, text, ret_id) : 0;
    if (count == 0) {
        cli_error("there is no tenant named \"%s\"; \"sallyport tenant list\" shows all", text);
    } else if (count > 1) {
        cli_error("several tenants are named \"%s\"; give the UUID from \"sallyport tenant list --name\"", text);
    }
    return count == 1 ? 0 : -1;
}

/* Names may hold slashes, so each one may be the border between tenant and router. Same counts as named(). */
static int named_in_tenant(struct cli *cli, const char *text, char ret_id[UUID_TEXT_SIZE]) {
    for (const char *slash = strchr(text, '/'); slash; slash = strchr(slash + 1, '/')) {
        char tenant_id[UUID_TEXT_SIZE];
        char *tenant = strndup(text, (size_t)(slash - text));
        int count = !tenant                      ? -1
                    : as_uuid(tenant, tenant_id) ? 1
                    : may_be_name(tenant)        ? named(cli, "/v1/tenants", NULL, tenant, tenant_id)
                                                 : 0;
        free(tenant);
        if (count == 1 && may_be_name(slash + 1)) {
            count = named(cli, "/v1/routers", tenant_id, slash + 1, ret_id);
        } else if (count == 1) {
            count = 0;
        }
        if (count != 0) {
            return count;
        }
    }
    return 0;
}

int lookup_router(struct cli *cli, const char *text, char ret_id[UUID_TEXT_SIZE]) {
    if (as_uuid(text, ret_id)) {
        return 0;
    }
    int count = named_in_tenant(cli, text, ret_id);
    if (count == 0 && may_be_name(text)) {
        count = named(cli, "/v1/routers", NULL, text, ret_id);
    }
    if (count == 0) {
        cli_error("there is no router \"%s\"; name it TENANT/ROUTER, as \"sallyport router list\" shows them", text);
    } else if (count > 1) {
        cli_error("several routers are named \"%s\"; say TENANT/ROUTER or give the UUID", text);
    }
    return count == 1 ? 0 : -1;
}

int lookup_token(struct cli *cli, const char *text, char ret_id[UUID_TEXT_SIZE]) {
    if (as_uuid(text, ret_id)) {
        return 0;
    }
    json_t *answer = client_json(cli, "GET", "/v1/tokens", NULL);
    if (!answer) {
        return -1;
    }
    size_t i, count = 0;
    const json_t *token;
    json_array_foreach(json_object_get(answer, "items"), i, token) {
        if (strcmp(field_text(token, "name"), text) == 0 && as_uuid(field_text(token, "id"), ret_id)) {
            count++;
        }
    }
    json_decref(answer);
    if (count != 1) {
        cli_error(count ? "several tokens are named \"%s\"; give the UUID from \"sallyport token list\""
                        : "there is no token named \"%s\"; \"sallyport token list\" shows all",
                  text);
    }
    return count == 1 ? 0 : -1;
}

#define NAMES_ONE_BY_ONE 100

struct lookup_names {
    json_t *by_id;
};

void lookup_names_free(struct lookup_names *names) {
    if (names) {
        json_decref(names->by_id);
        free(names);
    }
}

static bool names_learn(void *context, const json_t *items, bool last) {
    struct lookup_names *names = context;
    size_t i;
    const json_t *item;
    (void)last;
    json_array_foreach(items, i, item) {
        json_object_set(names->by_id, field_text(item, "id"), json_object_get(item, "name"));
    }
    return true;
}

/* One tenant, quietly: it may have been removed since its router was listed. */
static void names_ask(struct cli *cli, const char *id) {
    struct client_answer answer;
    struct buf fault = {0}, path = {0};
    buf_printf(&path, "/v1/tenants/%s", id);
    struct client_request request = {.method = "GET", .path = path.data};
    if (!path.failed && client_of(cli) && client_call(cli->client, &request, &answer, &fault) == 0) {
        json_object_set_new(cli->names->by_id, id, json_string(field_text(answer.json, "name")));
        client_answer_free(&answer);
    }
    buf_free(&path);
    buf_free(&fault);
}

static bool names_open(struct cli *cli) {
    if (!cli->names) {
        cli->names = calloc(1, sizeof *cli->names);
        if (cli->names) {
            cli->names->by_id = json_object();
        }
    }
    return cli->names != NULL;
}

const char *lookup_tenant_name(struct cli *cli, const char *id) {
    if (!names_open(cli)) {
        return "";
    }
    if (!json_object_get(cli->names->by_id, id)) {
        names_ask(cli, id);
    }
    return json_string_value(json_object_get(cli->names->by_id, id)) ?: "";
}

void lookup_tenant_names_ahead(struct cli *cli, const json_t *items) {
    const char *before = "";
    size_t i, unknown = 0;
    const json_t *item;
    if (!names_open(cli)) {
        return;
    }
    json_array_foreach(items, i, item) {
        const char *id = field_text(item, "tenant_id");
        unknown += strcmp(id, before) != 0 && !json_object_get(cli->names->by_id, id);
        before = id;
    }
    if (unknown > NAMES_ONE_BY_ONE) {
        pages_walk(cli, "/v1/tenants", 0, names_learn, cli->names);
    }
}
