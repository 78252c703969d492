#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/terminal.h"

const struct cli_option cli_global_options[] = {
    {"socket", 0, "PATH",
     "the gateway's Unix socket (also $SALLYPORT_SOCKET; else /run/sallyport/api.sock, "
     "else ./var/run/api.sock)",
     CLI_VALUE_FILE, NULL},
    {"url", 0, "URL", "speak to a gateway over TCP instead, e.g. http://127.0.0.1:8080 (also $SALLYPORT_URL)",
     CLI_VALUE_FREE, NULL},
    {"token-file", 0, "FILE", "file with the bearer token for --url (or $SALLYPORT_TOKEN)", CLI_VALUE_FILE, NULL},
    {"json", 0, NULL, "print what the API answered, as JSON", CLI_VALUE_FREE, NULL},
    {"help", 'h', NULL, "explain the command", CLI_VALUE_FREE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const char *cli_value_at(const struct cli *cli, const char *option, size_t index) {
    for (size_t i = 0; i < cli->value_count; i++) {
        if (strcmp(cli->values[i].option, option) == 0 && index-- == 0) {
            return cli->values[i].value;
        }
    }
    return NULL;
}

const char *cli_value(const struct cli *cli, const char *option) {
    const char *last = NULL;
    for (size_t i = 0; i < cli->value_count; i++) {
        if (strcmp(cli->values[i].option, option) == 0) {
            last = cli->values[i].value;
        }
    }
    return last;
}

bool cli_flag(const struct cli *cli, const char *option) {
    return cli_value(cli, option) != NULL;
}

void cli_error(const char *format, ...) {
    struct buf said = {0}, line = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&said, format, args);
    va_end(args);
    buf_text(&line, "sallyport: ");
    terminal_clean(&line, said.data ? said.data : format);
    fprintf(stderr, "%s\n", line.failed ? format : line.data);
    buf_free(&said);
    buf_free(&line);
}

bool cli_confirm(const struct cli *cli, const char *format, ...) {
    struct buf question = {0}, clean = {0};
    char answer[16] = "";
    if (cli_flag(cli, "yes")) {
        return true;
    }
    if (!isatty(STDIN_FILENO)) {
        cli_error("this cannot be undone and nobody is at the terminal to ask; add --yes if you mean it");
        return false;
    }
    va_list args;
    va_start(args, format);
    buf_vprintf(&question, format, args);
    va_end(args);
    terminal_clean(&clean, question.data ? question.data : "");
    fprintf(stderr, "%s [y/N] ", clean.data ? clean.data : "");
    buf_free(&question);
    buf_free(&clean);
    bool sure = fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
    if (!sure) {
        cli_error("nothing was changed");
    }
    return sure;
}
