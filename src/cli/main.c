/* sallyport: the CLI's main. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/help_text.h"
#include "cli/parse.h"
#include "cli/show/print.h"
#include "cli/tables.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"

static enum cli_exit help(const struct cli *cli) {
    struct buf out = {0};
    help_about(cli_tables, cli->command ? cli->command->words : cli->noun ? cli->noun : "", &out);
    print_buf(&out);
    buf_free(&out);
    return CLI_DONE;
}

int main(int argc, char **argv) {
    struct cli cli;
    struct buf fault = {0};
    /* names are UTF-8 whatever the terminal's language is */
    setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0) {
        cli_error("libsodium does not work on this host");
        return CLI_REFUSED;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("sallyport %s\n", SALLYPORT_VERSION);
        return CLI_DONE;
    }
    enum cli_exit done = cli_parse(cli_tables, argc, argv, &cli, &fault);
    if (done != CLI_DONE) {
        cli_error("%s", fault.data ? fault.data : "out of memory");
        if (cli.command) {
            fprintf(stderr, "See: sallyport help %s\n", cli.command->words);
        }
    } else if (cli.help || !cli.command) {
        done = help(&cli);
        done = cli.help ? done : CLI_USAGE;
    } else {
        done = cli.command->run(&cli);
    }
    if (fflush(stdout) != 0 && done == CLI_DONE && errno != EPIPE) {
        cli_error("standard output cannot be written: %s", strerror(errno));
        done = CLI_REFUSED;
    }
    buf_free(&fault);
    lookup_names_free(cli.names);
    client_close(cli.client);
    return (int)done;
}
