#include "store/noun/list.h"

#include <errno.h>
#include <stdio.h>

void list_text(struct list *list, const char *text) {
    size_t size = strlen(text);
    if (list->size + size >= sizeof list->sql) {
        list->failed = true;
        return;
    }
    memcpy(list->sql + list->size, text, size + 1);
    list->size += size;
}

static void parameter(struct list *list, struct value value) {
    if (list->count >= LIST_VALUES_MAX) {
        list->failed = true;
        return;
    }
    char number[16];
    list->values[list->count++] = value;
    snprintf(number, sizeof number, "$%zu", list->count);
    list_text(list, number);
}

void list_begin(struct list *list, const char *head, struct value value) {
    list->size = 0;
    list->count = 0;
    list->failed = false;
    list_text(list, head);
    parameter(list, value);
}

void list_and(struct list *list, const char *before, struct value value, const char *after) {
    list_text(list, " AND ");
    list_text(list, before);
    parameter(list, value);
    list_text(list, after);
}

void list_and_contains(struct list *list, const char *column, const char *part) {
    size_t size = 0;
    list->pattern[size++] = '%';
    for (const char *at = part; *at && size < sizeof list->pattern - 3; at++) {
        if (*at == '%' || *at == '_' || *at == '!') {
            list->pattern[size++] = '!';
        }
        list->pattern[size++] = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
    }
    list->pattern[size++] = '%';
    list->pattern[size] = '\0';
    list_text(list, " AND lower(");
    list_text(list, column);
    list_text(list, ") LIKE ");
    parameter(list, value_text(list->pattern));
    list_text(list, " ESCAPE '!'");
}

void list_end(struct list *list, const char *order, size_t limit) {
    list_text(list, " ORDER BY ");
    list_text(list, order);
    list_text(list, " LIMIT ");
    parameter(list, value_number((int64_t)limit));
}

int list_run(struct list *list, struct store_conn *conn, struct query *ret_query) {
    return list->failed ? -EINVAL : query_begin(conn, list->sql, list->values, list->count, ret_query);
}
