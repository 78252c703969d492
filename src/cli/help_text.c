#include "cli/help_text.h"

#include <string.h>

#include "cli/cli.h"

#define WRAP 100

static const char exit_text[] =
    "Exit status: 0 done, 1 refused or failed (stderr says why and what to do), 2 not understood.";

/* Wraps a text at blanks. Lines that begin with blanks are kept as they are; "\n\n" parts paragraphs. */
static void wrap(struct buf *out, const char *text, size_t indent, size_t first_used) {
    size_t used = first_used;
    while (*text) {
        size_t size = strcspn(text, " \n");
        if (used > indent && used + 1 + size > WRAP) {
            buf_printf(out, "\n%*s", (int)indent, "");
            used = indent;
        } else if (used > indent) {
            buf_text(out, " ");
            used++;
        }
        buf_append(out, text, size);
        used += size;
        text += size;
        if (*text == '\n') {
            size_t lines = strspn(text, "\n");
            buf_append(out, text, lines);
            text += lines;
            while (*text == ' ') { /* an example: as it is */
                size_t line = strcspn(text, "\n");
                buf_append(out, text, line);
                text += line;
                lines = strspn(text, "\n");
                buf_append(out, text, lines);
                text += lines;
            }
            used = indent;
            buf_printf(out, "%*s", (int)indent, "");
        } else if (*text) {
            text += strspn(text, " ");
        }
    }
    buf_text(out, "\n");
}

static void option_label(const struct cli_option *option, struct buf *label) {
    if (option->letter) {
        buf_printf(label, "-%c, ", option->letter);
    }
    buf_printf(label, "--%s", option->name);
    if (option->argument) {
        buf_printf(label, " %s", option->words ? option->words : option->argument);
    }
}

static void options_text(const struct cli_option *options, struct buf *out) {
    for (; options && options->name; options++) {
        struct buf label = {0};
        option_label(options, &label);
        buf_printf(out, "  %-30s ", label.data ? label.data : "");
        if (label.size > 30) {
            buf_printf(out, "\n%*s", 33, "");
        }
        wrap(out, options->help, 33, 33);
        buf_free(&label);
    }
}

static void command_text(const struct cli_command *command, struct buf *out) {
    buf_printf(out, "sallyport %s%s%s%s\n\n", command->words, command->arguments[0] ? " " : "", command->arguments,
               command->options ? " [OPTION]..." : "");
    wrap(out, command->help, 0, 0);
    if (command->options) {
        buf_text(out, "\nOptions:\n");
        options_text(command->options, out);
    }
}

void help_overview(const struct cli_command *const *tables, struct buf *out) {
    buf_text(out, "sallyport: manages a Sallyport gateway through its API.\n\nUsage: sallyport COMMAND [ARGUMENT]... "
                  "[OPTION]...\n\n");
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            struct buf label = {0};
            buf_printf(&label, "%s%s%s", c->words, c->arguments[0] ? " " : "", c->arguments);
            buf_printf(out, "  %-26s %s\n", label.data ? label.data : "", c->summary);
            buf_free(&label);
        }
    }
    buf_text(out, "\nOptions of every command:\n");
    options_text(cli_global_options, out);
    buf_text(out, "\n\"sallyport help COMMAND\" explains one.\n");
    wrap(out, exit_text, 0, 0);
}

bool help_about(const struct cli_command *const *tables, const char *words, struct buf *out) {
    bool found = false;
    size_t size = strlen(words);
    if (size == 0) {
        help_overview(tables, out);
        return true;
    }
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            if (strncmp(c->words, words, size) == 0 && (c->words[size] == '\0' || c->words[size] == ' ')) {
                if (found) {
                    buf_text(out, "\n----\n\n");
                }
                command_text(c, out);
                found = true;
            }
        }
    }
    if (found) {
        buf_text(out, "\nOptions of every command:\n");
        options_text(cli_global_options, out);
    }
    return found;
}

static void options_markdown(const struct cli_option *options, struct buf *out) {
    for (; options && options->name; options++) {
        struct buf label = {0};
        option_label(options, &label);
        buf_printf(out, "- `%s`: %s\n", label.data ? label.data : "", options->help);
        buf_free(&label);
    }
    buf_text(out, "\n");
}

void help_markdown(const struct cli_command *const *tables, struct buf *out) {
    buf_text(out, "# sallyport(1)\n\nManages a Sallyport gateway through its API: over the Unix socket on the gateway "
                  "itself (root "
                  "or the group `sallyport`), or from anywhere over TCP with a token.\n\n"
                  "This page is made by `sallyport help --markdown`; `sallyport help COMMAND` shows the same in a "
                  "terminal.\n\n    sallyport COMMAND [ARGUMENT]... [OPTION]...\n\n");
    buf_printf(
        out,
        "%s\n\nTenants and routers are named by their UUID, or by a name that only one of them has; a router also "
        "as `TENANT/ROUTER`.\n\n## Options of every command\n\n",
        exit_text);
    options_markdown(cli_global_options, out);
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            buf_printf(out, "## %s\n\n    sallyport %s%s%s%s\n\nTo %s.\n\n%s\n\n", c->words, c->words,
                       c->arguments[0] ? " " : "", c->arguments, c->options ? " [OPTION]..." : "", c->summary, c->help);
            if (c->options) {
                options_markdown(c->options, out);
            }
        }
    }
    /* one newline at the end */
    while (out->size > 1 && out->data[out->size - 2] == '\n') {
        out->data[--out->size] = '\0';
    }
}

static void option_words(const struct cli_option *options, struct buf *out) {
    for (; options && options->name; options++) {
        buf_printf(out, " --%s", options->name);
    }
}

/* The cases of options whose values are known: after "--addressing" come unique and private. */
static void option_cases(const char *words, const struct cli_option *options, struct buf *out) {
    for (; options && options->name; options++) {
        const char *reply = NULL;
        struct buf list = {0};
        switch (options->kind) {
        case CLI_VALUE_FREE:
            reply = options->argument ? "COMPREPLY=()" : NULL;
            break;
        case CLI_VALUE_FILE:
            reply = "compopt -o default; COMPREPLY=()";
            break;
        case CLI_VALUE_TENANT:
            reply = "_sallyport_names tenant";
            break;
        case CLI_VALUE_ROUTER:
            reply = "_sallyport_names router";
            break;
        case CLI_VALUE_WORDS:
            buf_text(&list, "mapfile -t COMPREPLY < <(compgen -W \"");
            for (const char *at = options->words; *at; at++) {
                buf_append(&list, *at == '|' ? " " : at, 1);
            }
            buf_text(&list, "\" -- \"$cur\")");
            reply = list.data;
            break;
        }
        if (reply) {
            buf_printf(out, "    \"%s --%s\") %s; return ;;\n", words, options->name, reply);
        }
        buf_free(&list);
    }
}

static const char *argument_reply(enum cli_value_kind kind) {
    switch (kind) {
    case CLI_VALUE_FREE:
    case CLI_VALUE_WORDS:
        return ":";
    case CLI_VALUE_FILE:
        return "compopt -o default";
    case CLI_VALUE_TENANT:
        return "_sallyport_names tenant";
    case CLI_VALUE_ROUTER:
        return "_sallyport_names router";
    }
    return ":";
}

void help_completion_bash(const struct cli_command *const *tables, struct buf *out) {
    /* Names come from customers. "compgen -W" would expand them, running what stands in $(...): so they are compared as
     * text and quoted. */
    buf_text(out, "# bash completion for sallyport; made by \"sallyport completion bash\"\n"
                  "_sallyport_names() {\n"
                  "  local name\n"
                  "  while IFS= read -r name; do\n"
                  "    [[ $name != \"$cur\"* ]] || COMPREPLY+=(\"$(printf %q \"$name\")\")\n"
                  "  done < <(\"${COMP_WORDS[0]}\" \"$1\" list --limit 200 --search \"$cur\" --names 2>/dev/null)\n"
                  "}\n"
                  "_sallyport() {\n"
                  "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= options= word\n"
                  "  COMPREPLY=()\n"
                  "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                  "    [[ $word != -* ]] || continue\n"
                  "    case \"${words:+$words }$word\" in\n");
    buf_text(out, "    ");
    const char *separator = "";
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            const char *blank = strchr(c->words, ' ');
            if (blank && c == *table) { /* the noun of this table */
                buf_printf(out, "%s\"%.*s\"", separator, (int)(blank - c->words), c->words);
                separator = "|";
            }
            buf_printf(out, "%s\"%s\"", separator, c->words);
            separator = "|";
        }
    }
    buf_text(out, ") words=\"${words:+$words }$word\" ;;\n    esac\n  done\n  case \"$words $prev\" in\n");
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            option_cases(c->words, c->options, out);
        }
    }
    option_cases("*", cli_global_options, out);
    buf_text(out, "  esac\n  case \"$words\" in\n");
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            buf_printf(out, "    \"%s\") options=\"", c->words);
            option_words(c->options, out);
            buf_printf(out, "\"; [[ $cur == -* ]] || %s ;;\n", argument_reply(c->argument_kind));
        }
    }
    buf_text(out, "    *) local next\n      next=$(printf '%s\\n'");
    for (const struct cli_command *const *table = tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            buf_printf(out, " \"%s\"", c->words);
        }
    }
    buf_text(out, " |\n        sed -n \"s/^${words:+$words }\\([^ ]*\\).*/\\1/p\" | sort -u)\n"
                  "      mapfile -t COMPREPLY < <(compgen -W \"$next\" -- \"$cur\") ;;\n"
                  "  esac\n"
                  "  [[ $cur != -* ]] || mapfile -t COMPREPLY < <(compgen -W \"$options");
    option_words(cli_global_options, out);
    buf_text(out, "\" -- \"$cur\")\n}\ncomplete -F _sallyport sallyport\n");
}
