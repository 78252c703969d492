#include "store/noun/audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/noun/changes.h"
#include "store/noun/list.h"
#include "store/store.h"

static struct value text_or_null(const char *text) {
    return text ? value_text(text) : value_null();
}

int audit_append(struct store_conn *conn, const struct change *changes, size_t count, const struct author *author) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct change *c = &changes[i];
        const struct value values[] = {
            value_count(c->revision),      value_time(c->at),          value_text(c->kind),
            value_uuid(&c->tenant_id),     value_uuid(&c->router_id),  value_text(author->actor),
            value_uuid(&author->token_id), value_text(author->origin), value_text(author->request),
            text_or_null(c->before),       text_or_null(c->after),
        };
        r = query_run(
            conn,
            "INSERT INTO vpn_audit (revision, at, kind, tenant_id, router_id, actor, token_id, origin, request_id, "
            "value_before, value_after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            values, VALUE_COUNT(values), NULL);
    }
    return r;
}

static int text_copy(const struct query *query, int column, char **ret_text) {
    if (query_is_null(query, column)) {
        return 0;
    }
    *ret_text = strdup(query_text(query, column));
    return *ret_text ? 0 : -ENOMEM;
}

static int row_read(const struct query *query, struct audit_row *row) {
    *row = (struct audit_row){.revision = query_count(query, 0), .at = query_time(query, 1)};
    query_copy(query, 2, row->kind, sizeof row->kind);
    query_uuid(query, 3, &row->tenant_id);
    query_uuid(query, 4, &row->router_id);
    query_copy(query, 5, row->author.actor, sizeof row->author.actor);
    query_uuid(query, 6, &row->author.token_id);
    query_copy(query, 7, row->author.origin, sizeof row->author.origin);
    query_copy(query, 8, row->author.request, sizeof row->author.request);
    int r = text_copy(query, 9, &row->before);
    return r < 0 ? r : text_copy(query, 10, &row->after);
}

static void filter_add(struct list *list, const struct audit_filter *filter) {
    if (filter->since) {
        list_and(list, "at >= ", value_time(filter->since), "");
    }
    if (filter->until) {
        list_and(list, "at < ", value_time(filter->until), "");
    }
    if (!uuid_is_zero(&filter->tenant_id)) {
        list_and(list, "tenant_id = ", value_uuid(&filter->tenant_id), "");
    }
    if (!uuid_is_zero(&filter->router_id)) {
        list_and(list, "router_id = ", value_uuid(&filter->router_id), "");
    }
    if (!uuid_is_zero(&filter->token_id)) {
        list_and(list, "token_id = ", value_uuid(&filter->token_id), "");
    }
    if (filter->actor) {
        list_and(list, "actor = ", value_text(filter->actor), "");
    }
    if (filter->kind) {
        list_and(list, "kind = ", value_text(filter->kind), "");
    }
}

int audit_list(struct store_conn *conn, const struct audit_filter *filter, uint64_t revision, size_t limit,
               struct audit_row *ret_rows, size_t *ret_count) {
    struct list list;
    struct query query;
    size_t count = 0;
    list_begin(&list,
               "SELECT revision, at, kind, tenant_id, router_id, actor, token_id, origin, request_id, value_before, "
               "value_after FROM vpn_audit WHERE revision < ",
               value_number(revision ? (int64_t)revision : INT64_MAX));
    filter_add(&list, filter);
    list_end(&list, "revision DESC", limit);
    int r = list_run(&list, conn, &query);
    if (r < 0) {
        return r;
    }
    while (count < limit && (r = query_next(&query)) == 1) {
        r = row_read(&query, &ret_rows[count++]);
        if (r < 0) {
            break;
        }
    }
    query_end(&query);
    if (r < 0) {
        audit_rows_free(ret_rows, count);
        return r;
    }
    *ret_count = count;
    return 0;
}

void audit_rows_free(struct audit_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(rows[i].before);
        free(rows[i].after);
        rows[i].before = rows[i].after = NULL;
    }
}

int audit_forget(struct store_conn *conn, int64_t until, size_t limit, int64_t *ret_forgotten) {
    const struct value values[] = {value_time(until), value_number((int64_t)limit)};
    return query_run(conn,
                     "DELETE FROM vpn_audit WHERE at < $1 AND revision IN "
                     "(SELECT revision FROM vpn_audit ORDER BY revision LIMIT $2)",
                     values, VALUE_COUNT(values), ret_forgotten);
}
