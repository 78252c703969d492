/* What commands write to stdout. */
#pragma once

#include <jansson.h>

#include "cli/cli.h"

struct table;

/* Indented, keys in the API's order, and a newline. */
void print_json(const json_t *json);
/* Prints what the API answered and drops it: as JSON if that was asked for, else by `show` (NULL: nothing). NULL, an
 * answer that did not come, is CLI_REFUSED. */
enum cli_exit print_answer(struct cli *cli, json_t *answer, void (*show)(struct cli *cli, const json_t *answer));
/* Writes and forgets the buffer's content. */
void print_buf(struct buf *text);
/* Writes the rows that the table holds so far. */
void print_table(struct table *table);
/* Lines of "name  value", names aligned: for the one thing a `show` is about. Values are cleaned for the terminal. */
struct print_pair {
    const char *name;
    char value[256];
};
void print_pairs(const struct print_pair *pairs, size_t count);
/* A prefix list "a, b, c" of a JSON array of strings into `text`, cut with "..." if it does not fit. */
char *print_join(const json_t *array, char *text, size_t size);
/* A file of mode 0600 that must not exist yet, or stdout for NULL or "-". Nothing is there before it is closed. NULL
 * after an error was printed. */
struct print_file;
struct print_file *print_file_open(const char *path);
/* Writes `text` and makes it durable: the file is whole, or not there. 0, or -1 after an error was printed: what cannot
 * be had again must then go elsewhere. Frees the file either way; with NULL text nothing is written. */
int print_file_close(struct print_file *file, const struct buf *text);
