/* sallyport import: tenants and routers in bulk; import_server.c has the peers of a WireGuard server.
 *
 * The file is read twice: once to find every fault of form before anything is changed, once to send it in batches.
 * Batches, their Idempotency-Keys and the identifiers of the items follow from the file's content alone, so an import
 * that was cut short is simply run again: what is there already is recognized. */
#include "cli/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/import/configs.h"
#include "cli/import/read.h"
#include "cli/import/server.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"
#include "cli/talk/progress.h"

#define BATCH_ITEMS 2000
#define BATCH_ROUTERS 5000     /* the API takes 10,000 */
#define BATCH_BYTES (2u << 20) /* of the file; the API takes bodies of 8 MiB */
#define BATCH_TIMEOUT_S 600L
#define FAILURES_SHOWN 20

struct import {
    struct cli *cli;
    const char *configs; /* folder for configurations with keys that are shown once; NULL: none */
    json_t *batch;       /* items' bodies */
    unsigned lines[BATCH_ITEMS];
    size_t routers, first_byte;
    bool of_routers, makes_keys;
    char *tenant; /* the last one looked up, and its id */
    char tenant_id[UUID_TEXT_SIZE];
    size_t items, made, there, failed;
    size_t partial;       /* files without a whole configuration */
    size_t there_keyless; /* routers that are there already, whose keys nobody shows again */
    json_t *failures;
    struct progress progress;
};

static void failure_add(struct import *im, unsigned line, const json_t *problem) {
    const char *field = field_text(problem, "field");
    im->failed++;
    if (im->cli->json) {
        json_array_append_new(im->failures, json_pack("{s:i, s:O}", "line", (int)line, "problem", problem));
    } else if (im->failed <= FAILURES_SHOWN) {
        progress_end(&im->progress);
        cli_error("line %u: %s%s%s%s", line, field_text(problem, "detail"), field[0] ? " (" : "", field,
                  field[0] ? ")" : "");
    }
}

/* Configurations are written before the batch counts as done. */
static int write_configs(struct import *im, unsigned line, const json_t *routers) {
    size_t i;
    const json_t *router;
    json_array_foreach(routers, i, router) {
        int done = configs_write(im->configs, router);
        if (done == -EBADMSG) {
            im->partial++;
            progress_end(&im->progress);
            cli_error(
                "line %u: the gateway could not write the configuration of %s; its file has the keys, and its head "
                "says how to get the rest",
                line, field_text(router, "name"));
        } else if (done < 0) {
            cli_error(
                "make room and run the same import again: it completes what is missing, and the gateway keeps the "
                "keys for 24 hours");
            return -1;
        }
    }
    return 0;
}

static int item_done(struct import *im, unsigned line, const json_t *result) {
    int64_t status = field_number(result, "status");
    const json_t *problem = json_object_get(result, "problem");
    if (status == 409 && strcmp(field_text(problem, "type"), "urn:sallyport:problem:duplicate-id") == 0 &&
        strcmp(field_text(problem, "field"), "id") == 0) {
        im->there++;
        im->there_keyless += im->configs && im->makes_keys;
    } else if (status < 200 || status > 299) {
        failure_add(im, line, problem);
    } else {
        im->made++;
        if (im->configs && im->makes_keys) {
            const json_t *routers = json_object_get(result, "routers");
            json_t *one = routers ? NULL : json_pack("[O]", json_object_get(result, "router"));
            int error = write_configs(im, line, routers ? routers : one);
            json_decref(one);
            return error;
        }
    }
    return 0;
}

static int batch_done(struct import *im, const json_t *answer) {
    const json_t *results = json_object_get(answer, "items");
    if (json_array_size(results) != json_array_size(im->batch)) {
        cli_error("the gateway answered for %zu of %zu items; is it another version?", json_array_size(results),
                  json_array_size(im->batch));
        return -1;
    }
    size_t i;
    const json_t *result;
    json_array_foreach(results, i, result) {
        if (item_done(im, im->lines[i], result) < 0) {
            return -1;
        }
    }
    return 0;
}

static void key_of(const char *path, const json_t *body, char key[33]) {
    unsigned char hash[16];
    crypto_generichash_state state;
    char *text = json_dumps(body, JSON_COMPACT);
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, (const unsigned char *)path, strlen(path));
    if (text) {
        crypto_generichash_update(&state, (const unsigned char *)text, strlen(text));
        sodium_memzero(text, strlen(text));
    }
    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_bin2hex(key, 33, hash, sizeof hash);
    free(text);
}

/* Sends what is gathered. 0, or -1 after an error. */
static int batch_send(struct import *im) {
    struct client_answer answer;
    struct buf fault = {0};
    char key[33];
    int error = -1;
    if (json_array_size(im->batch) == 0) {
        return 0;
    }
    json_t *body = json_pack("{s:O}", im->of_routers ? "routers" : "tenants", im->batch);
    struct client_request request = {
        .method = "POST",
        .path = im->of_routers ? (im->makes_keys ? "/v1/routers/bulk" : "/v1/routers/bulk?return=minimal")
                               : (im->makes_keys ? "/v1/tenants/bulk" : "/v1/tenants/bulk?return=minimal"),
        .body = body,
        .idempotency_key = key,
        .timeout_s = BATCH_TIMEOUT_S,
    };
    key_of(request.path, body, key);
    struct client *client = client_of(im->cli);
    if (!client) {
        goto fail;
    }
    if (client_call(client, &request, &answer, &fault) < 0) {
        progress_end(&im->progress);
        cli_error("%s. Run the same import again: it goes on where it stopped",
                  fault.data ? fault.data : "out of memory");
        goto fail;
    }
    if (answer.status == 200) {
        error = batch_done(im, answer.json);
    } else {
        progress_end(&im->progress);
        client_problem_print(answer.status, answer.json);
    }
    im->items += json_array_size(im->batch);
    client_answer_free(&answer);
fail:
    json_array_clear(im->batch);
    im->routers = 0;
    im->makes_keys = false;
    json_decref(body);
    buf_free(&fault);
    return error;
}

/* The tenant of a router item; neighbours mostly share it. */
static int tenant_find(struct import *im, const char *tenant) {
    if (!im->tenant || strcmp(im->tenant, tenant) != 0) {
        free(im->tenant);
        im->tenant = NULL;
        if (lookup_tenant(im->cli, tenant, im->tenant_id) < 0) {
            return -1;
        }
        im->tenant = strdup(tenant);
    }
    return 0;
}

static int item_put(struct import *im, struct import_item *item, size_t byte) {
    bool of_routers = item->tenant != NULL;
    size_t count = json_array_size(im->batch);
    bool full =
        count == BATCH_ITEMS || im->routers + item->routers > BATCH_ROUTERS || byte - im->first_byte > BATCH_BYTES;
    if (count && (full || of_routers != im->of_routers || item->makes_keys != im->makes_keys) && batch_send(im) < 0) {
        return -1;
    }
    if (of_routers) {
        if (tenant_find(im, item->tenant) < 0) {
            return -1;
        }
        json_object_set_new(item->body, "tenant_id", json_string(im->tenant_id));
    }
    count = json_array_size(im->batch);
    if (count == 0) {
        im->first_byte = byte;
    }
    im->lines[count] = item->line;
    im->of_routers = of_routers;
    im->makes_keys = item->makes_keys;
    im->routers += item->routers;
    return json_array_append(im->batch, item->body);
}

/* An item of the file; or as many as the API makes of it in one step, and the rest after it. */
static int item_add(struct import *im, struct import_item *item, size_t byte) {
    struct import_item *rest = NULL;
    size_t count = 0;
    int error = import_item_identify(item);
    error = error < 0 ? error : import_item_split(item, &rest, &count);
    if (error < 0) {
        cli_error("out of memory");
        return -1;
    }
    error = item_put(im, item, byte);
    for (size_t i = 0; i < count; i++) {
        if (error == 0 && import_item_identify(&rest[i]) < 0) {
            cli_error("out of memory");
            error = -1;
        }
        error = error < 0 ? error : item_put(im, &rest[i], byte);
        import_item_free(&rest[i]);
    }
    free(rest);
    return error;
}

struct totals {
    size_t items, routers, bytes;
    unsigned key_line; /* first line whose keys the gateway makes; 0: none */
};

/* Reads the whole file; with `im` it is sent, without it only checked. 0, or -1 after an error. */
static int pass(FILE *file, enum import_format format, bool into_existing, struct import *im, struct totals *totals) {
    struct import_reader *reader = import_reader_make(file, format, into_existing);
    struct import_item item;
    struct buf fault = {0};
    size_t whole = totals->bytes;
    int more = reader ? 1 : -ENOMEM;
    rewind(file);
    *totals = (struct totals){0};
    while (more > 0 && (more = import_reader_next(reader, &item, &fault)) > 0) {
        totals->items++;
        totals->routers += item.routers;
        totals->key_line = item.makes_keys && !totals->key_line ? item.line : totals->key_line;
        if (im) {
            more = item_add(im, &item, import_reader_bytes(reader)) < 0 ? -ECANCELED : 1;
            progress_update(&im->progress, import_reader_bytes(reader), whole, im->items);
        }
        import_item_free(&item);
    }
    if (more < 0 && more != -ECANCELED) {
        cli_error("%s", fault.data ? fault.data : "out of memory");
    }
    totals->bytes = reader ? import_reader_bytes(reader) : 0;
    import_reader_free(reader);
    buf_free(&fault);
    return more < 0 ? -1 : 0;
}

/* The file, or for "-" a copy of standard input, which can be read twice. */
static FILE *source_open(const char *path) {
    if (strcmp(path, "-") != 0) {
        FILE *file = fopen(path, "re");
        if (!file) {
            cli_error("%s cannot be read: %s", path, strerror(errno));
        }
        return file;
    }
    FILE *copy = tmpfile();
    char bytes[16384];
    for (size_t n; copy && (n = fread(bytes, 1, sizeof bytes, stdin)) > 0;) {
        if (fwrite(bytes, 1, n, copy) != n) {
            fclose(copy);
            copy = NULL;
        }
    }
    explicit_bzero(bytes, sizeof bytes);
    if (!copy) {
        cli_error("standard input cannot be copied to a temporary file: %s", strerror(errno));
    }
    return copy;
}

/* Whether --format says so, or else the file's name does. */
static bool is_format(const struct cli *cli, const char *format, const char *suffix) {
    const char *given = cli_value(cli, "format"), *dot = strrchr(cli->arguments[0], '.');
    return given ? strcmp(given, format) == 0 : dot && strcmp(dot, suffix) == 0;
}

static enum import_format format_of(const struct cli *cli) {
    return is_format(cli, "csv", ".csv") ? IMPORT_CSV : IMPORT_JSON_LINES;
}

static enum cli_exit summary(const struct import *im, int error) {
    if (im->cli->json) {
        json_t *all = json_pack("{s:I, s:I, s:I, s:O}", "created", (json_int_t)im->made, "already_there",
                                (json_int_t)im->there, "failed", (json_int_t)im->failed, "failures", im->failures);
        print_json(all);
        json_decref(all);
    } else {
        char made[FIELD_TEXT_SIZE], there[FIELD_TEXT_SIZE], failed[FIELD_TEXT_SIZE];
        printf("%s created, %s there already, %s failed\n", field_count((int64_t)im->made, made),
               field_count((int64_t)im->there, there), field_count((int64_t)im->failed, failed));
        if (im->there_keyless) {
            cli_error("%zu that are there already were given their keys by another import; where %s lacks a file, "
                      "\"sallyport router rotate\" makes a new one",
                      im->there_keyless, im->configs);
        }
        if (im->failed > FAILURES_SHOWN) {
            cli_error("only the first %d failures are shown", FAILURES_SHOWN);
        }
    }
    return error < 0 || im->failed || im->partial ? CLI_REFUSED : CLI_DONE;
}

static enum cli_exit send_all(struct cli *cli, FILE *file, struct totals *totals) {
    enum cli_exit done = CLI_REFUSED;
    struct import *im = calloc(1, sizeof *im);
    if (!im) {
        cli_error("out of memory");
        return CLI_REFUSED;
    }
    im->cli = cli;
    im->configs = cli_value(cli, "configs");
    im->batch = json_array();
    im->failures = json_array();
    im->progress = progress_start("importing");
    int error = pass(file, format_of(cli), cli_flag(cli, "into-existing"), im, totals);
    error = error < 0 ? error : batch_send(im);
    if (error == 0) {
        progress_update(&im->progress, 1, 1, im->items);
    }
    progress_end(&im->progress);
    done = summary(im, error);
    json_decref(im->batch);
    json_decref(im->failures);
    free(im->tenant);
    free(im);
    return done;
}

static enum cli_exit import_list(struct cli *cli) {
    const char *configs = cli_value(cli, "configs");
    struct totals totals = {0};
    enum cli_exit done = CLI_REFUSED;
    FILE *file = source_open(cli->arguments[0]);
    if (!file) {
        return CLI_REFUSED;
    }
    if (pass(file, format_of(cli), cli_flag(cli, "into-existing"), NULL, &totals) < 0) {
        cli_error("nothing was imported");
    } else if (totals.key_line && !configs) {
        cli_error(
            "line %u: has no public key, so the gateway makes its keys and shows them once: say with --configs FOLDER "
            "where the configurations go. Nothing was imported",
            totals.key_line);
    } else if (cli_flag(cli, "check")) {
        printf("%zu items with %zu routers; their form is fine\n", totals.items, totals.routers);
        done = CLI_DONE;
    } else if (configs && mkdir(configs, 0700) < 0 && errno != EEXIST) {
        cli_error("the folder %s cannot be made: %s", configs, strerror(errno));
    } else {
        done = send_all(cli, file, &totals);
    }
    fclose(file);
    return done;
}

/* Options that only one kind of source takes; NULL: none was given with the other. */
static const char *misplaced(const struct cli *cli, bool server) {
    static const char *const of_server[] = {"tenant", "dry-run",   "skip-conflicts",
                                            "adopt",  "other-key", "addressing",
                                            "subnet", "interface", "drop-default-routes"};
    static const char *const of_lists[] = {"into-existing", "configs", "check"};
    const char *const *options = server ? of_lists : of_server;
    size_t count = server ? sizeof of_lists / sizeof *of_lists : sizeof of_server / sizeof *of_server;
    for (size_t i = 0; i < count; i++) {
        if (cli_flag(cli, options[i])) {
            return options[i];
        }
    }
    return NULL;
}

static enum cli_exit import_from_server(struct cli *cli) {
    bool live = cli_flag(cli, "interface"), has_file = cli->argument_count == 1;
    if (!live && !has_file) {
        cli_error("say what to import: a file, or --interface NAME");
        return CLI_USAGE;
    }
    if (!cli_flag(cli, "tenant")) {
        cli_error("say with --tenant NAME whose routers the peers become");
        return CLI_USAGE;
    }
    if (cli_flag(cli, "adopt") && !live) {
        cli_error("--adopt takes over a live interface; it goes with --interface");
        return CLI_USAGE;
    }
    FILE *file = has_file ? source_open(cli->arguments[0]) : NULL;
    if (has_file && !file) {
        return CLI_REFUSED;
    }
    if (file) {
        rewind(file);
    }
    enum cli_exit done = import_server(cli, file, has_file ? cli->arguments[0] : NULL);
    if (file) {
        fclose(file);
    }
    return done;
}

static enum cli_exit import(struct cli *cli) {
    bool server = cli->argument_count == 0 || cli_flag(cli, "interface") || is_format(cli, "wg", ".conf");
    const char *other = misplaced(cli, server);
    if (other) {
        cli_error(server ? "--%s is for lists of tenants and routers, not for a WireGuard server"
                         : "--%s is for a WireGuard server; say --format wg if this file is one's configuration",
                  other);
        return CLI_USAGE;
    }
    return server ? import_from_server(cli) : import_list(cli);
}

static const struct cli_option import_options[] = {
    {"format", 0, "FORMAT", "default: by the file's name, .csv, .conf (wg), or anything else for JSON Lines",
     CLI_VALUE_WORDS, "csv|jsonl|wg"},
    {"into-existing", 0, NULL, "CSV: the tenants exist already; add routers to them", CLI_VALUE_FREE, NULL},
    {"configs", 0, "FOLDER",
     "where to write configurations of routers without a public key of their own: a file each, named as its interface",
     CLI_VALUE_FILE, NULL},
    {"check", 0, NULL, "lists: check the file's form and change nothing", CLI_VALUE_FREE, NULL},
    {"interface", 0, "NAME", "a live WireGuard interface of the gateway's host; a FILE then only names its peers",
     CLI_VALUE_FREE, NULL},
    {"tenant", 0, "TENANT", "server: whose routers the peers become; made if there is none of that name",
     CLI_VALUE_TENANT, NULL},
    {"dry-run", 0, NULL, "server: list what would happen, one line per peer, and change nothing", CLI_VALUE_FREE, NULL},
    {"skip-conflicts", 0, NULL, "server: leave out peers that conflict, also with --adopt and if nothing else is left",
     CLI_VALUE_FREE, NULL},
    {"drop-default-routes", 0, NULL, "server: leave 0.0.0.0/0 and ::/0 out of the peers that have them", CLI_VALUE_FREE,
     NULL},
    {"adopt", 0, NULL, "interface: the gateway takes it over, with its key, port and sessions", CLI_VALUE_FREE, NULL},
    {"other-key", 0, NULL, "server: its key is not the gateway's; every router will be given the gateway's",
     CLI_VALUE_FREE, NULL},
    {"addressing", 0, "unique|private", "server: of a new tenant (default: unique)", CLI_VALUE_WORDS, "unique|private"},
    {"subnet", 0, "CIDR", "server: of a new tenant (default: what suits the peers)", CLI_VALUE_FREE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command import_commands[] = {
    {"import", "[FILE]", CLI_VALUE_FILE, 0, 1, "create tenants and routers from a file or a WireGuard server",
     "From a list. JSON Lines: an object a line. A tenant as the API takes it, with its routers:\n\n"
     "    {\"name\": \"Acme\", \"addressing\": \"private\", \"routers\": [{\"name\": \"roof\", \"public_key\": "
     "\"...\"}]}\n\n"
     "or a router for a tenant that exists:\n\n"
     "    {\"tenant\": \"Acme\", \"name\": \"cellar\", \"public_key\": \"...\", \"lans\": [\"192.168.88.0/24\"]}\n\n"
     "CSV: the first row names the columns: tenant, tenant_id, addressing, subnet, egress, router, router_id, "
     "public_key, preshared_key, address, lans (separated by \";\"). Rows of one tenant that follow each other make "
     "one "
     "tenant.\n\n"
     "The whole file is checked before anything is created. Each item succeeds or fails by itself; failures are named "
     "by line, and the exit status is then 1. An import that was interrupted is run again as it is: what exists "
     "already "
     "is recognized and left alone. FILE \"-\" is standard input.\n\n"
     "From a WireGuard server: its wg0.conf (wg-quick's, or that of a container: linuxserver/wireguard, wg-easy), or "
     "with --interface the live interface (a FILE then only gives names). Its peers become routers of one tenant with "
     "their keys and addresses: the "
     "/32 among the AllowedIPs is the address, the others are LANs; comments name them. What cannot be "
     "taken over is said. A peer in conflict is left out, and the exit status is then 1; with --adopt, which would cut "
     "it "
     "off, a conflict stops everything before anything is made. Routers go on without being touched if the gateway has "
     "the server's key, address and "
     "port: \"sallyport init --from-interface wg0\" makes it so.\n\n"
     "    sallyport import wg0.conf --tenant Acme --dry-run\n\n"
     "    sallyport import --interface wg0 --tenant Acme --adopt",
     import_options, import},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
