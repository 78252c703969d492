/* sallyport help, completion: the table of commands as text, as Markdown, as a completion script. */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "cli/help_text.h"
#include "cli/show/print.h"

static enum cli_exit print_all(struct buf *out) {
    bool failed = out->failed;
    print_buf(out);
    buf_free(out);
    return failed ? CLI_REFUSED : CLI_DONE;
}

static enum cli_exit help(struct cli *cli) {
    struct buf out = {0}, words = {0};
    if (cli_flag(cli, "markdown")) {
        help_markdown(cli->tables, &out);
        return print_all(&out);
    }
    for (int i = 0; i < cli->argument_count; i++) {
        buf_printf(&words, "%s%s", i ? " " : "", cli->arguments[i]);
    }
    bool found = help_about(cli->tables, words.data ? words.data : "", &out);
    if (!found) {
        cli_error("\"%s\" is not a command; \"sallyport help\" lists them", words.data);
    }
    buf_free(&words);
    if (!found) {
        buf_free(&out);
        return CLI_USAGE;
    }
    return print_all(&out);
}

static enum cli_exit completion(struct cli *cli) {
    struct buf out = {0};
    if (strcmp(cli->arguments[0], "bash") != 0) {
        cli_error("there is completion for bash only, not for \"%s\"", cli->arguments[0]);
        return CLI_USAGE;
    }
    help_completion_bash(cli->tables, &out);
    return print_all(&out);
}

static const struct cli_option help_options[] = {
    {"markdown", 0, NULL, "all of it, as docs/cli.md", CLI_VALUE_FREE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command help_commands[] = {
    {"help", "[COMMAND]...", CLI_VALUE_FREE, 0, 2, "explain a command, or list all", "The same as COMMAND --help.",
     help_options, help},
    {"completion", "bash", CLI_VALUE_FREE, 1, 1, "print a completion script",
     "For this shell, and for all:\n\n"
     "    source <(sallyport completion bash)\n\n"
     "    sallyport completion bash >/usr/share/bash-completion/completions/sallyport",
     NULL, completion},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
