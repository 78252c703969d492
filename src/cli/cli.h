/* The program `sallyport`: one table of commands, from which parsing, help, completion and the manual page come.
 *
 * A command is a struct cli_command in the table of its noun (commands.h). Its function gets a struct cli with
 * what was given, does its work through the API and returns an exit status. Single-threaded. Results go to stdout;
 * errors go to stderr and say what to do.
 *
 * Read from the bottom: cli.h (what a command is, and its values) < show/ (the terminal) < talk/ (the API) < noun/,
 * import/, doctor/ (the commands) < init/ < help_text.h, help.c (the commands explained) < parse.h, tables.h < main.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct client;
struct cli;
struct lookup_names;

enum cli_exit {
    CLI_DONE = 0,
    CLI_REFUSED = 1, /* understood, but it could not be done */
    CLI_USAGE = 2,   /* not understood */
};

/* What may stand in an argument's or option's place: drives completion. */
enum cli_value_kind {
    CLI_VALUE_FREE,
    CLI_VALUE_FILE,
    CLI_VALUE_TENANT,
    CLI_VALUE_ROUTER,
    CLI_VALUE_WORDS, /* one of a fixed few: `words` */
};

struct cli_option {
    const char *name;     /* long name without dashes; NULL ends a table */
    char letter;          /* short form, or 0 */
    const char *argument; /* how help calls the value; NULL: a flag */
    const char *help;
    enum cli_value_kind kind;
    const char *words; /* for CLI_VALUE_WORDS: separated by "|" */
};

struct cli_command {
    const char *words;                 /* "tenant add"; NULL ends a table */
    const char *arguments;             /* for help: "TENANT NAME" */
    enum cli_value_kind argument_kind; /* of the first argument */
    int least, most;                   /* how many arguments */
    const char *summary;               /* one line, no full stop */
    const char *help;                  /* paragraphs, separated by an empty line */
    const struct cli_option *options;  /* may be NULL */
    enum cli_exit (*run)(struct cli *cli);
};

/* The options that every command knows. */
extern const struct cli_option cli_global_options[];

#define CLI_VALUES_MAX 128

struct cli {
    const struct cli_command *const *tables; /* all there are, ended by NULL */
    const struct cli_command *command;       /* NULL: none was named */
    char **arguments;                        /* points into argv */
    int argument_count;
    struct {
        const char *option;
        const char *value; /* "" for a flag */
    } values[CLI_VALUES_MAX];
    size_t value_count;
    bool json;
    bool help;
    const char *noun;           /* "tenant", where help on all its commands is wanted; else NULL */
    struct client *client;      /* opened by client_of() on first use */
    struct lookup_names *names; /* made by lookup_tenant_name() on first use */
};

/* The value of an option (the last one, or that of a given index from 0), NULL if it was not given. */
const char *cli_value(const struct cli *cli, const char *option);
const char *cli_value_at(const struct cli *cli, const char *option, size_t index);
bool cli_flag(const struct cli *cli, const char *option);

/* "sallyport: ..." on stderr, control characters made visible. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Asks on the terminal and waits for "y". `--yes` answers it. Without a terminal it refuses and says so. */
bool cli_confirm(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
