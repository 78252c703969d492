/* sallyport export: the gateway's routers as a file for `wg setconf`. */
#include "cli/commands.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/show/print.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"
#include "model/key.h"

#define KEY_LINE "PrivateKey = "

/* What the last line of the text says: without it the text is not whole. */
struct tally {
    size_t peers, silent, private_ones, broken;
};

static bool tally_read(const struct buf *text, struct tally *ret_tally) {
    const char *line = text->data ? strstr(text->data, "\n# End: ") : NULL;
    for (const char *next = line; next; next = strstr(next + 1, "\n# End: ")) {
        line = next;
    }
    return line && sscanf(line, "\n# End: %zu peers; left out: %zu disabled, %zu private, %zu unreadable",
                          &ret_tally->peers, &ret_tally->silent, &ret_tally->private_ones, &ret_tally->broken) == 4;
}

static int key_read(const char *path, char text[KEY_BASE64_SIZE]) {
    char line[KEY_BASE64_SIZE + 2] = "";
    struct key key;
    FILE *file = fopen(path, "re");
    if (!file) {
        cli_error("%s cannot be read: %s", path, strerror(errno));
        return -1;
    }
    setvbuf(file, NULL, _IONBF, 0); /* no copy of the key is left in a buffer */
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    bool fine = read && key_from_base64(line, &key) == 0 && !key_is_zero(&key);
    if (fine) {
        memcpy(text, line, KEY_BASE64_SIZE);
    } else {
        cli_error("%s holds no WireGuard private key (one line of 44 characters, as \"wg genkey\" prints)", path);
    }
    sodium_memzero(line, sizeof line);
    sodium_memzero(&key, sizeof key);
    return fine ? 0 : -1;
}

/* Whether this is the private half of the gateway's key. */
static int key_check(struct cli *cli, const char *path, const char *text) {
    struct key private_key, public_key;
    char is[KEY_BASE64_SIZE];
    json_t *status = client_json(cli, "GET", "/v1/status", NULL);
    if (!status) {
        return -1;
    }
    const char *wanted = json_string_value(json_object_get(json_object_get(status, "gateway"), "public_key"));
    (void)key_from_base64(text, &private_key);
    key_public(&private_key, &public_key);
    sodium_memzero(&private_key, sizeof private_key);
    bool same = wanted && strcmp(key_to_base64(&public_key, is), wanted) == 0;
    if (!same) {
        cli_error("%s is the key of another gateway: no router would connect to it. This one's is [gateway] "
                  "private_key_file, %s",
                  path, "/var/lib/sallyport/server.key unless its configuration says otherwise");
    }
    json_decref(status);
    return same ? 0 : -1;
}

/* Puts the key where the gateway left its place. */
static void key_put(struct buf *text, const char *key) {
    struct buf with = {0};
    char *line = text->data ? strstr(text->data, "\n" KEY_LINE) : NULL;
    if (!line) {
        return;
    }
    char *end = strchr(line + 1, '\n');
    /* the comment above it says that it is missing */
    char *comment = strstr(text->data, "\n# The gateway's server.key");
    char *from = comment && comment < line ? comment : line;
    buf_append(&with, text->data, (size_t)(from - text->data));
    buf_printf(&with, "\n" KEY_LINE "%s", key);
    buf_text(&with, end ? end : "\n");
    buf_free(text);
    *text = with;
}

static int text_get(struct cli *cli, struct buf *ret_text, struct tally *ret_tally) {
    char id[UUID_TEXT_SIZE];
    const char *tenant = cli_value(cli, "tenant"), *file = cli_value(cli, "private-key-file");
    char key[KEY_BASE64_SIZE];
    struct buf path = {0};
    if (file && (key_read(file, key) < 0 || key_check(cli, file, key) < 0)) {
        sodium_memzero(key, sizeof key);
        return -1;
    }
    buf_text(&path, "/v1/export");
    if (tenant && lookup_tenant(cli, tenant, id) < 0) {
        buf_free(&path);
        return -1;
    }
    client_query(&path, "tenant_id", tenant ? id : NULL);
    int error = client_text(cli, path.data ? path.data : "", ret_text);
    buf_free(&path);
    if (error == 0 && !tally_read(ret_text, ret_tally)) {
        cli_error("the gateway's answer broke off; try again");
        error = -1;
    }
    if (error == 0 && file) {
        key_put(ret_text, key);
    }
    sodium_memzero(key, sizeof key);
    return error;
}

static enum cli_exit judge(const struct cli *cli, const struct tally *tally) {
    if (!cli_flag(cli, "private-key-file")) {
        fprintf(stderr,
                "The gateway's private key is not part of it, and \"wg setconf\" refuses the file until you put "
                "it in; --private-key-file does that.\n");
    }
    if (tally->private_ones || tally->broken) {
        cli_error("%zu routers are left out: %zu of tenants with private addressing, whose addresses plain WireGuard "
                  "cannot translate, %zu whose preshared key cannot be read",
                  tally->private_ones + tally->broken, tally->private_ones, tally->broken);
        return CLI_REFUSED;
    }
    return CLI_DONE;
}

static enum cli_exit export_all(struct cli *cli) {
    struct buf text = {0};
    struct tally tally = {0};
    struct print_file *file = print_file_open(cli->json ? NULL : cli_value(cli, "output"));
    if (!file) {
        return CLI_REFUSED;
    }
    int error = text_get(cli, &text, &tally);
    if (cli->json && error == 0) {
        json_t *all = json_pack("{s:I, s:I, s:I, s:I, s:s}", "peers", (json_int_t)tally.peers, "disabled",
                                (json_int_t)tally.silent, "private", (json_int_t)tally.private_ones, "unreadable",
                                (json_int_t)tally.broken, "config", text.data);
        print_json(all);
        json_decref(all);
    }
    error = print_file_close(file, error < 0 || cli->json ? NULL : &text) < 0 ? -1 : error;
    buf_free(&text);
    return error < 0 ? CLI_REFUSED : judge(cli, &tally);
}

static const struct cli_option export_options[] = {
    {"tenant", 0, "TENANT", "only the routers of this tenant", CLI_VALUE_TENANT, NULL},
    {"private-key-file", 0, "FILE", "put the gateway's private key in, read here from its server.key", CLI_VALUE_FILE,
     NULL},
    {"output", 'o', "FILE", "write to a new file of mode 0600", CLI_VALUE_FILE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command export_commands[] = {
    {"export", "", CLI_VALUE_FREE, 0, 0, "print all routers as a file for \"wg setconf\"",
     "So that nobody is locked in: every active router as a [Peer], with its keys and addresses. It holds preshared "
     "keys: keep it as you keep keys.\n\n"
     "    sallyport export --private-key-file /var/lib/sallyport/server.key --output wg0.conf\n\n"
     "    wg setconf wg0 wg0.conf\n\n"
     "Disabled routers are left out. So are routers of tenants with private addressing, since plain WireGuard cannot "
     "translate their addresses: the exit status is then 1. Comments say which.",
     export_options, export_all},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
