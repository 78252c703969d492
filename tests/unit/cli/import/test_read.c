/* Files of tenants and routers: what they say, where they are wrong, and identifiers that do not change. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/import/read.h"
#include "cli/show/field.h"

/* Reads all of `text`; the items as one JSON array of [line, tenant or null, body]. NULL and `fault` if it is refused.
 */
static json_t *read_all(const char *text, enum import_format format, bool into_existing, struct buf *fault) {
    FILE *file = fmemopen((char *)text, strlen(text), "r");
    struct import_reader *reader = import_reader_make(file, format, into_existing);
    struct import_item item;
    json_t *all = json_array();
    int more;
    while ((more = import_reader_next(reader, &item, fault)) > 0) {
        json_array_append_new(all, json_pack("[i, s?, O, b]", (int)item.line, item.tenant, item.body, item.makes_keys));
        import_item_free(&item);
    }
    import_reader_free(reader);
    fclose(file);
    if (more < 0) {
        json_decref(all);
        return NULL;
    }
    return all;
}

static void assert_reads(const char *text, enum import_format format, bool into_existing, const char *expected) {
    struct buf fault = {0};
    json_t *is = read_all(text, format, into_existing, &fault), *wanted = json_loads(expected, 0, NULL);
    assert_non_null(wanted);
    if (!is || !json_equal(is, wanted)) {
        char *shown = is ? json_dumps(is, 0) : NULL;
        fail_msg("read %s, expected %s; %s", shown ? shown : "nothing", expected, fault.data ? fault.data : "");
    }
    json_decref(is);
    json_decref(wanted);
    buf_free(&fault);
}

static void assert_refuses(const char *text, enum import_format format, const char *said) {
    struct buf fault = {0};
    assert_null(read_all(text, format, false, &fault));
    if (!strstr(fault.data, said)) {
        fail_msg("\"%s\" should contain \"%s\"", fault.data, said);
    }
    buf_free(&fault);
}

static void json_lines_are_tenants_or_routers_of_existing_tenants(void **state) {
    (void)state;
    assert_reads(
        "{\"name\":\"a\",\"routers\":[{\"name\":\"r\",\"public_key\":\"k\"}]}\n\n  \n{\"tenant\":\"b\",\"name\":\"s\"}",
        IMPORT_JSON_LINES, false,
        "[[1,null,{\"name\":\"a\",\"routers\":[{\"name\":\"r\",\"public_key\":\"k\"}]},false],"
        "[4,\"b\",{\"name\":\"s\"},true]]");
    assert_reads("", IMPORT_JSON_LINES, false, "[]");
    assert_reads("{\"name\":\"a\"}\r\n", IMPORT_JSON_LINES, false, "[[1,null,{\"name\":\"a\"},false]]");
}

static void faults_of_json_lines_name_the_line(void **state) {
    (void)state;
    assert_refuses("{\"name\":\"a\"}\n{\"name\":", IMPORT_JSON_LINES, "line 2: not a JSON object");
    assert_refuses("[1]\n", IMPORT_JSON_LINES, "line 1: not a JSON object");
    assert_refuses("{\"name\":\"a\",\"name\":\"b\"}\n", IMPORT_JSON_LINES, "line 1");
    assert_refuses("{\"name\":\"\xff\"}\n", IMPORT_JSON_LINES, "line 1");
    assert_refuses("{\"tenant\":5,\"name\":\"b\"}\n", IMPORT_JSON_LINES, "line 1: \"tenant\" must be");
}

static void csv_rows_of_one_tenant_make_one_tenant(void **state) {
    (void)state;
    assert_reads("tenant,addressing,router,public_key,lans,egress\n"
                 "a,private,r1,k1,10.1.0.0/24;10.2.0.0/24,yes\n"
                 "a,private,r2,k2,,yes\r\n"
                 "\n"
                 "b,,r1,,,\n"
                 "a,private,r3,k3,,yes\n"
                 "c,,,,,no\n",
                 IMPORT_CSV, false,
                 "[[2,null,{\"name\":\"a\",\"addressing\":\"private\",\"egress\":true,\"routers\":["
                 "{\"name\":\"r1\",\"public_key\":\"k1\",\"lans\":[\"10.1.0.0/24\",\"10.2.0.0/24\"]},"
                 "{\"name\":\"r2\",\"public_key\":\"k2\"}]},false],"
                 "[5,null,{\"name\":\"b\",\"routers\":[{\"name\":\"r1\"}]},true],"
                 "[6,null,{\"name\":\"a\",\"addressing\":\"private\",\"egress\":true,\"routers\":["
                 "{\"name\":\"r3\",\"public_key\":\"k3\"}]},false],"
                 "[7,null,{\"name\":\"c\",\"egress\":false,\"routers\":[]},false]]");
}

static void csv_may_add_routers_to_existing_tenants(void **state) {
    (void)state;
    assert_reads("tenant,router,public_key\na,r1,k1\na,r2,k2\n", IMPORT_CSV, true,
                 "[[2,\"a\",{\"name\":\"r1\",\"public_key\":\"k1\"},false],[3,\"a\",{\"name\":\"r2\",\"public_key\":"
                 "\"k2\"},false]]");
}

static void csv_quotes_hold_commas_quotes_and_line_ends(void **state) {
    (void)state;
    assert_reads("\xef\xbb\xbf\"tenant\",router,public_key\n\"a, \"\"b\"\"\",\"x\ny\",k\nz,r,k\n", IMPORT_CSV, false,
                 "[[2,null,{\"name\":\"a, \\\"b\\\"\",\"routers\":[{\"name\":\"x\\ny\",\"public_key\":\"k\"}]},false],"
                 "[4,null,{\"name\":\"z\",\"routers\":[{\"name\":\"r\",\"public_key\":\"k\"}]},false]]");
}

static void faults_of_csv_name_the_line_and_the_column(void **state) {
    (void)state;
    assert_refuses("", IMPORT_CSV, "empty");
    assert_refuses("tenant,bogus\n", IMPORT_CSV, "\"bogus\" is not a column");
    assert_refuses("router\nr\n", IMPORT_CSV, "a column \"tenant\" is needed");
    assert_refuses("tenant,router\na\n", IMPORT_CSV, "line 2: has 1 fields");
    assert_refuses("tenant,router\na,b,c\n", IMPORT_CSV, "line 2: has 3 fields");
    assert_refuses("tenant,router\na,b\n,c\n", IMPORT_CSV, "line 3: the tenant's name is missing");
    assert_refuses("tenant,egress\na,perhaps\n", IMPORT_CSV, "line 2: column egress");
    assert_refuses("tenant,router\n\"a,b\n", IMPORT_CSV, "line 2: a quote is opened");
}

static char *identity(const char *line, char id[UUID_TEXT_SIZE]) {
    struct import_item item = {.body = json_loads(line, 0, NULL)};
    assert_int_equal(import_item_identify(&item), 0);
    snprintf(id, UUID_TEXT_SIZE, "%s", field_text(item.body, "id"));
    import_item_free(&item);
    return id;
}

static void the_same_item_has_the_same_identifier(void **state) {
    (void)state;
    char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];
    assert_string_equal(identity("{\"name\":\"x\",\"egress\":true}", a),
                        identity("{\"egress\":true, \"name\":\"x\"}", b));
    assert_string_not_equal(identity("{\"name\":\"x\"}", a), identity("{\"name\":\"y\"}", b));
    assert_int_equal(identity("{\"name\":\"x\"}", a)[14], '8');
    assert_string_equal(identity("{\"name\":\"x\",\"id\":\"given\"}", a), "given");
}

static void a_tenant_that_is_too_large_for_one_step_is_split(void **state) {
    struct import_item *rest = NULL, item = {.body = json_pack("{s:s, s:[]}", "name", "big", "routers"), .line = 7};
    json_t *routers = json_object_get(item.body, "routers");
    char ids[3][UUID_TEXT_SIZE];
    size_t count = 0;
    (void)state;
    for (int i = 0; i < 1002; i++) { /* all alike, each a router and a LAN */
        json_array_append_new(routers, json_pack("{s:s, s:[s]}", "name", "r", "lans", "10.1.0.0/24"));
    }
    assert_int_equal(import_item_identify(&item), 0);
    snprintf(ids[0], sizeof ids[0], "%s", field_text(item.body, "id"));
    assert_int_equal(import_item_split(&item, &rest, &count), 0);
    assert_int_equal(json_array_size(routers), 1000);
    assert_int_equal(item.routers, 1000);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(rest[i].tenant, ids[0]);
        assert_int_equal(rest[i].line, 7);
        assert_true(rest[i].makes_keys);
        assert_int_equal(import_item_identify(&rest[i]), 0);
        snprintf(ids[i + 1], sizeof ids[i + 1], "%s", field_text(rest[i].body, "id"));
        import_item_free(&rest[i]);
    }
    assert_string_not_equal(ids[1], ids[2]);
    free(rest);
    rest = NULL;
    assert_int_equal(import_item_split(&item, &rest, &count), 0); /* what fits is left as it is */
    assert_null(rest);
    assert_int_equal(count, 0);
    assert_int_equal(json_array_size(routers), 1000);
    import_item_free(&item);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_are_tenants_or_routers_of_existing_tenants),
        cmocka_unit_test(faults_of_json_lines_name_the_line),
        cmocka_unit_test(csv_rows_of_one_tenant_make_one_tenant),
        cmocka_unit_test(csv_may_add_routers_to_existing_tenants),
        cmocka_unit_test(csv_quotes_hold_commas_quotes_and_line_ends),
        cmocka_unit_test(faults_of_csv_name_the_line_and_the_column),
        cmocka_unit_test(the_same_item_has_the_same_identifier),
        cmocka_unit_test(a_tenant_that_is_too_large_for_one_step_is_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
