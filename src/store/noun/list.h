/* A SELECT put together from optional filters. The text is made of literals only; what callers give goes into
 * parameters. Internal to store/. */
#pragma once

#include <stddef.h>

#include "store/store.h"

#define LIST_VALUES_MAX 16
#define LIST_PATTERN_SIZE 800

struct list {
    char sql[2048];
    size_t size;
    struct value values[LIST_VALUES_MAX];
    size_t count;
    char pattern[LIST_PATTERN_SIZE];
    bool failed; /* outgrew its room: a fault of the caller in store/, not of the request */
};

/* `head` ends where its first parameter goes. */
void list_begin(struct list *list, const char *head, struct value value);
/* " AND " before parameter after. */
void list_and(struct list *list, const char *before, struct value value, const char *after);
/* Upper and lower case of ASCII letters are the same. */
void list_and_contains(struct list *list, const char *column, const char *part);
void list_text(struct list *list, const char *text);
void list_end(struct list *list, const char *order, size_t limit);
/* The list must live until query_end(). */
int list_run(struct list *list, struct store_conn *conn, struct query *ret_query);
