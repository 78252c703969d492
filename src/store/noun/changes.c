#include "store/noun/changes.h"

#include <errno.h>

#include "store/conn.h"
#include "store/store.h"

#define SELECT_CHANGE                                                                                                  \
    "SELECT revision, at, kind, tenant_id, router_id, actor, gone_public_key, gateway_id FROM vpn_changes "

int changes_append(struct store_conn *conn, struct change *changes, size_t count, const char *actor,
                   uint64_t *ret_revision) {
    const struct value more = value_count(count);
    int64_t last = 0;
    int r =
        query_number(conn, "UPDATE vpn_revision SET value = value + $1 WHERE id = 1 RETURNING value", &more, 1, &last);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct change *c = &changes[i];
        c->revision = (uint64_t)last - count + i + 1;
        const struct value values[] = {
            value_count(c->revision),  value_time(c->at),
            value_text(c->kind),       value_uuid(&c->tenant_id),
            value_uuid(&c->router_id), key_is_zero(&c->gone) ? value_null() : value_key(&c->gone),
            value_text(actor),         value_number(c->gateway_id),
        };
        r = query_run(conn,
                      "INSERT INTO vpn_changes (revision, at, kind, tenant_id, router_id, gone_public_key, actor, "
                      "gateway_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                      values, VALUE_COUNT(values), NULL);
    }
    if (r == 0 && conn->driver->announce) {
        r = query_run(conn, conn->driver->announce, NULL, 0, NULL);
    }
    if (r == 0) {
        *ret_revision = (uint64_t)last;
    }
    return r;
}

int changes_revision(struct store_conn *conn, uint64_t *ret_revision) {
    int64_t revision = 0;
    int r = query_number(conn, "SELECT value FROM vpn_revision WHERE id = 1", NULL, 0, &revision);
    if (r == 0) {
        *ret_revision = (uint64_t)revision;
    }
    return r;
}

bool change_mark_equal(const struct change_mark *a, const struct change_mark *b) {
    return a->revision == b->revision && a->at == b->at && uuid_equal(&a->tenant_id, &b->tenant_id) &&
           uuid_equal(&a->router_id, &b->router_id);
}

int changes_mark(struct store_conn *conn, uint64_t revision, struct change_mark *ret_mark) {
    static const struct uuid all;
    struct change_row row;
    size_t count = 0;
    int r = revision ? changes_list(conn, revision - 1, &all, 1, &row, &count) : 0;
    if (r == 0) {
        *ret_mark = (struct change_mark){0};
        if (count && row.revision == revision) {
            *ret_mark = (struct change_mark){revision, row.at, row.tenant_id, row.router_id};
        }
    }
    return r;
}

int changes_span(struct store_conn *conn, uint64_t *ret_oldest, uint64_t *ret_newest) {
    struct query query;
    int r = query_first(conn, "SELECT value, (SELECT MIN(revision) FROM vpn_changes) FROM vpn_revision WHERE id = 1",
                        NULL, 0, &query);
    if (r == 0) {
        *ret_newest = query_count(&query, 0);
        *ret_oldest = query_is_null(&query, 1) ? *ret_newest + 1 : query_count(&query, 1);
        query_end(&query);
    }
    return r;
}

int changes_list(struct store_conn *conn, uint64_t after, const struct uuid *tenant_id, size_t limit,
                 struct change_row *ret_rows, size_t *ret_count) {
    const struct value values[] = {value_count(after), value_number((int64_t)limit), value_uuid(tenant_id)};
    struct query query;
    size_t count = 0;
    int r = query_begin(conn,
                        uuid_is_zero(tenant_id) ? SELECT_CHANGE "WHERE revision > $1 ORDER BY revision LIMIT $2"
                                                : SELECT_CHANGE "WHERE tenant_id = $3 AND revision > $1 "
                                                                "ORDER BY revision LIMIT $2",
                        values, uuid_is_zero(tenant_id) ? 2 : 3, &query);
    if (r < 0) {
        return r;
    }
    while (count < limit && (r = query_next(&query)) == 1) {
        struct change_row *row = &ret_rows[count++];
        row->revision = query_count(&query, 0);
        row->at = query_time(&query, 1);
        query_copy(&query, 2, row->kind, sizeof row->kind);
        query_uuid(&query, 3, &row->tenant_id);
        query_uuid(&query, 4, &row->router_id);
        query_copy(&query, 5, row->actor, sizeof row->actor);
        query_key(&query, 6, &row->gone);
        row->gateway_id = query_int(&query, 7);
    }
    query_end(&query);
    if (r < 0) {
        return r;
    }
    *ret_count = count;
    return 0;
}

int changes_forget(struct store_conn *conn, uint64_t revision, unsigned most, int64_t *ret_forgotten) {
    const struct value values[] = {value_count(revision), value_number(most)};
    return query_run(conn,
                     "DELETE FROM vpn_changes WHERE revision IN (SELECT revision FROM vpn_changes WHERE revision <= $1 "
                     "ORDER BY revision LIMIT $2)",
                     values, VALUE_COUNT(values), ret_forgotten);
}
