#include "cli/parse.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#define OPTIONS_MAX 48

/* What getopt_long() needs, and which of our options each entry is. */
struct parser {
    struct option longs[OPTIONS_MAX + 1];
    const struct cli_option *ours[OPTIONS_MAX];
    char shorts[2 * OPTIONS_MAX + 3];
    int count;
};

static void parser_add(struct parser *p, const struct cli_option *options) {
    size_t at = strlen(p->shorts);
    for (; options && options->name && p->count < OPTIONS_MAX; options++) {
        p->longs[p->count] = (struct option){.name = options->name,
                                             .has_arg = options->argument ? required_argument : no_argument,
                                             .val = 256 + p->count};
        p->ours[p->count++] = options;
        if (options->letter) {
            p->shorts[at++] = options->letter;
            if (options->argument) {
                p->shorts[at++] = ':';
            }
        }
    }
    p->shorts[at] = '\0';
    p->longs[p->count] = (struct option){0};
}

static const struct cli_option *parser_find(const struct parser *p, int letter) {
    if (letter >= 256) {
        return p->ours[letter - 256];
    }
    for (int i = 0; i < p->count; i++) {
        if (p->ours[i]->letter == letter) {
            return p->ours[i];
        }
    }
    return NULL;
}

/* Whether `value` is one of the words "a|b|c". */
static bool is_one_of(const char *words, const char *value) {
    for (;;) {
        size_t size = strcspn(words, "|");
        if (strlen(value) == size && memcmp(words, value, size) == 0) {
            return true;
        }
        if (!words[size]) {
            return false;
        }
        words += size + 1;
    }
}

static enum cli_exit take(struct cli *cli, const struct cli_option *option, const char *value, struct buf *fault) {
    if (strcmp(option->name, "json") == 0) {
        cli->json = true;
    } else if (strcmp(option->name, "help") == 0) {
        cli->help = true;
    }
    if (option->kind == CLI_VALUE_WORDS && !is_one_of(option->words, value)) {
        buf_printf(fault, "--%s must be one of %s, not \"%s\"", option->name, option->words, value);
        return CLI_USAGE;
    }
    if (cli->value_count == CLI_VALUES_MAX) {
        buf_printf(fault, "more than %d options", CLI_VALUES_MAX);
        return CLI_USAGE;
    }
    cli->values[cli->value_count].option = option->name;
    cli->values[cli->value_count++].value = value;
    return CLI_DONE;
}

/* Reads options from argv, starting behind argv[0]; `*ret_rest` is where the arguments begin. */
static enum cli_exit parse_options(struct cli *cli, const struct parser *p, int argc, char **argv, int *ret_rest,
                                   struct buf *fault) {
    optind = 0; /* glibc: start anew */
    opterr = 0;
    for (;;) {
        int letter = getopt_long(argc, argv, p->shorts, p->longs, NULL);
        if (letter == -1) {
            *ret_rest = optind;
            return CLI_DONE;
        }
        if (letter == ':') {
            buf_printf(fault, "%s needs a value", argv[optind - 1]);
            return CLI_USAGE;
        }
        if (letter == '?') {
            const char *given = optopt && optopt < 256 ? NULL : argv[optind - 1];
            if (given) {
                buf_printf(fault, "unknown option %s", given);
            } else {
                buf_printf(fault, "unknown option -%c", optopt);
            }
            return CLI_USAGE;
        }
        enum cli_exit taken = take(cli, parser_find(p, letter), optarg ? optarg : "", fault);
        if (taken != CLI_DONE) {
            return taken;
        }
    }
}

/* How many of the words at `argv` name this command; 0 if they do not. */
static int command_words(const struct cli_command *command, int argc, char **argv) {
    const char *at = command->words;
    int count = 0;
    for (;; count++) {
        size_t size = strcspn(at, " ");
        if (count >= argc || strlen(argv[count]) != size || strncmp(argv[count], at, size) != 0) {
            return 0;
        }
        if (!at[size]) {
            return count + 1;
        }
        at += size + 1;
    }
}

static const struct cli_command *command_find(const struct cli_command *const *tables, int argc, char **argv,
                                              int *ret_words) {
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *command = *table; command->words; command++) {
            int words = command_words(command, argc, argv);
            if (words) {
                *ret_words = words;
                return command;
            }
        }
    }
    return NULL;
}

/* "tenant --help" */
static bool asks_for_noun(const struct cli_command *const *tables, int argc, char **argv) {
    if (argc != 2 || (strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0)) {
        return false;
    }
    size_t size = strlen(argv[0]);
    for (const struct cli_command *const *table = tables; *table; table++) {
        if (strncmp((*table)->words, argv[0], size) == 0 && (*table)->words[size] == ' ') {
            return true;
        }
    }
    return false;
}

/* "tenant" alone, or with an unknown verb: say which verbs there are. */
static void command_suggest(const struct cli_command *const *tables, int argc, char **argv, struct buf *fault) {
    size_t size = strlen(argv[0]);
    const char *separator = "";
    bool known = false;
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *command = *table; command->words; command++) {
            if (strncmp(command->words, argv[0], size) == 0 && command->words[size] == ' ') {
                if (!known && argc > 1) {
                    buf_printf(fault, "\"%s %s\" is not a command; there are: ", argv[0], argv[1]);
                } else if (!known) {
                    buf_printf(fault, "\"%s\" is half a command; there are: ", argv[0]);
                }
                buf_printf(fault, "%s%s", separator, command->words);
                separator = ", ";
                known = true;
            }
        }
    }
    if (!known) {
        buf_printf(fault, "\"%s\" is not a command; \"sallyport --help\" lists them", argv[0]);
    }
}

enum cli_exit cli_parse(const struct cli_command *const *tables, int argc, char **argv, struct cli *ret_cli,
                        struct buf *ret_fault) {
    struct parser globals = {.shorts = "+:"};
    int rest = 0, words = 0;
    *ret_cli = (struct cli){.tables = tables};
    parser_add(&globals, cli_global_options);
    enum cli_exit read = parse_options(ret_cli, &globals, argc, argv, &rest, ret_fault);
    if (read != CLI_DONE || rest == argc) {
        return read;
    }
    const struct cli_command *command = command_find(tables, argc - rest, argv + rest, &words);
    if (!command && asks_for_noun(tables, argc - rest, argv + rest)) {
        ret_cli->help = true;
        ret_cli->noun = argv[rest];
        return CLI_DONE;
    }
    if (!command) {
        command_suggest(tables, argc - rest, argv + rest, ret_fault);
        return CLI_USAGE;
    }
    ret_cli->command = command;
    struct parser all = {.shorts = ":"};
    parser_add(&all, command->options);
    parser_add(&all, cli_global_options);
    /* getopt begins behind its argv[0]: the command's last word */
    int first = rest + words - 1;
    read = parse_options(ret_cli, &all, argc - first, argv + first, &rest, ret_fault);
    if (read != CLI_DONE || ret_cli->help) {
        return read;
    }
    ret_cli->arguments = argv + first + rest;
    ret_cli->argument_count = argc - first - rest;
    if (ret_cli->argument_count < command->least) {
        buf_printf(ret_fault, "\"%s\" needs %s", command->words, command->arguments);
        return CLI_USAGE;
    }
    if (ret_cli->argument_count > command->most) {
        buf_printf(ret_fault, "\"%s\" is one argument too many for \"%s\"; quote names with spaces",
                   ret_cli->arguments[command->most], command->words);
        return CLI_USAGE;
    }
    return CLI_DONE;
}
