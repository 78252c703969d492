/* sallyport store ... The store's files and servers are sallyportd's affair: it is run for the work, and this shows how
 * far it is. */
#include "cli/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/talk/progress.h"

#define PATH_SIZE 4096

/* sallyportd beside this program, as installed or as built, else on the PATH. */
static bool daemon_find(char path[PATH_SIZE]) {
    static const char *const places[] = {"sallyportd", "../sbin/sallyportd", "../daemon/sallyportd"};
    char self[PATH_SIZE - 32];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size > 0) {
        self[size] = '\0';
        *(strrchr(self, '/') + 1) = '\0';
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            snprintf(path, PATH_SIZE, "%s%s", self, places[i]);
            if (access(path, X_OK) == 0) {
                return true;
            }
        }
    }
    const char *at = getenv("PATH");
    while (at && *at) {
        int part = (int)strcspn(at, ":");
        if (part && snprintf(path, PATH_SIZE, "%.*s/sallyportd", part, at) < PATH_SIZE && access(path, X_OK) == 0) {
            return true;
        }
        at += part + (at[part] == ':');
    }
    return false;
}

/* Its stdout comes through `ret_out`. -errno. */
static int daemon_run(const char *path, const char *from, const char *to, pid_t *ret_child, FILE **ret_out) {
    char *arguments[] = {(char *)(uintptr_t)path, (char *)(uintptr_t) "--store-migrate", (char *)(uintptr_t)from,
                         (char *)(uintptr_t)to, NULL};
    int ends[2];
    if (pipe(ends) < 0) {
        return -errno;
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(path, arguments);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = child > 0 ? fdopen(ends[0], "r") : NULL;
    if (!out) {
        int error = errno;
        close(ends[0]);
        return -error;
    }
    *ret_child = child;
    *ret_out = out;
    return 0;
}

static enum cli_exit report(const struct cli *cli, uint64_t rows, uint64_t tenants, uint64_t routers) {
    if (cli->json) {
        json_t *moved = json_pack("{s:I, s:I, s:I}", "rows", (json_int_t)rows, "tenants", (json_int_t)tenants,
                                  "routers", (json_int_t)routers);
        enum cli_exit done = moved ? CLI_DONE : CLI_REFUSED;
        print_json(moved);
        json_decref(moved);
        return done;
    }
    printf("Moved %" PRIu64 " tenants and %" PRIu64 " routers (%" PRIu64 " rows), counted on both sides.\n"
           "Set the new URL as [store] url, keep the gateway's private key, and start sallyportd. Routers notice "
           "nothing.\n",
           tenants, routers, rows);
    return CLI_DONE;
}

static enum cli_exit migrate(struct cli *cli) {
    const char *from = cli_value(cli, "from"), *to = cli_value(cli, "to");
    char path[PATH_SIZE], *line = NULL;
    size_t room = 0;
    pid_t child = 0;
    FILE *out = NULL;
    if (!from || !to) {
        cli_error(
            "say which store to move with --from sqlite:PATH and where with --to postgresql://USER@HOST/DATABASE");
        return CLI_USAGE;
    }
    if (!daemon_find(path)) {
        cli_error("sallyportd is neither beside this program nor on the PATH; run this on the gateway");
        return CLI_REFUSED;
    }
    fflush(stdout);
    int r = daemon_run(path, from, to, &child, &out);
    if (r < 0) {
        cli_error("%s cannot be run: %s", path, strerror(-r));
        return CLI_REFUSED;
    }
    struct progress progress = progress_start("moving");
    uint64_t done = 0, whole = 0, rows = 0, tenants = 0, routers = 0;
    bool moved = false;
    while (getline(&line, &room, out) > 0) {
        if (sscanf(line, "moved %" SCNu64 " %" SCNu64 " %" SCNu64, &rows, &tenants, &routers) == 3) {
            moved = true;
        } else if (sscanf(line, "%" SCNu64 " %" SCNu64, &done, &whole) == 2) {
            progress_update(&progress, (size_t)done, (size_t)whole, (size_t)done);
        }
    }
    progress_end(&progress);
    free(line);
    fclose(out);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0 && moved;
    if (!well && !(WIFEXITED(status) && WEXITSTATUS(status) == 1)) { /* else it has said why */
        cli_error("%s ended before it was done; nothing was changed", path);
    }
    return well ? report(cli, rows, tenants, routers) : CLI_REFUSED;
}

static const struct cli_option migrate_options[] = {
    {"from", 0, "URL", "the store there is: sqlite:/var/lib/sallyport/sallyport.db", CLI_VALUE_FREE, NULL},
    {"to", 0, "URL", "an empty database: postgresql://user@host/database", CLI_VALUE_FREE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command store_commands[] = {
    {"store migrate", "", CLI_VALUE_FREE, 0, 0, "move everything into another database",
     "Moves tenants, routers, tokens, events and usage from one database into another, empty one, in one transaction; "
     "then both sides are counted. Routers keep their keys and addresses, and notice nothing. Stop sallyportd first: a "
     "store that is in use is not moved. The gateway's private key is not in the database; keep it.\n\nA password in a "
     "URL can be seen by everybody on this host while the command runs. Better: a passfile (~/.pgpass) or a service "
     "(postgresql:///?service=NAME), as PostgreSQL's own tools take them.\n\n"
     "    sallyport store migrate --from sqlite:/var/lib/sallyport/sallyport.db --to postgresql://db/sallyport",
     migrate_options, migrate},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
