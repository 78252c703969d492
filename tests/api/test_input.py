"""Bad input: each gets an error that names the field or the cause, and changes nothing."""
import socket

import pytest

MIB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_changes(api, tenant):
    def state():
        status = api.get("/status")
        return status["store"]["revision"], status["counts"]["tenants"], status["counts"]["routers"]

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("body, kind, status", [
    (b"", "malformed-json", 400),
    (b"{", "malformed-json", 400),
    (b'{"name": "a",}', "malformed-json", 400),
    (b"{'name': 'a'}", "malformed-json", 400),
    (b'{"name": "a"} {}', "malformed-json", 400),
    (b'{"name": "a", "name": "b"}', "malformed-json", 400),
    (b'{"name": "a\\u0000b"}', "malformed-json", 400),
    (b'{"name": "\\ud800"}', "malformed-json", 400),
    (b'{"name": "a\nb"}', "malformed-json", 400),
    (b'{"name": 1e999}', "malformed-json", 400),
    (b'{"limits": {"routers": 99999999999999999999}}', "malformed-json", 400),
    (b"\xef\xbb\xbf{}", "malformed-json", 400),
    (b"[" * 60000, "malformed-json", 400),
    (b'{"name": "\xff\xfe"}', "invalid-utf8", 400),
    (b'{"name": "\xc0\xaf"}', "invalid-utf8", 400),
    (b'{"name": "\xed\xa0\x80"}', "invalid-utf8", 400),
    (b"[]", "wrong-type", 422),
    (b'"name"', "wrong-type", 422),
    (b"null", "wrong-type", 422),
])
def test_bodies_that_are_no_object(api, body, kind, status):
    problem = api.refused(status, kind, "POST", "/tenants", body)
    if status == 400 and body:
        assert "line" in problem["detail"] and "column" in problem["detail"]


def test_the_place_of_an_error_is_told(api):
    problem = api.refused(400, "malformed-json", "POST", "/tenants", b'{\n  "name": "a",\n  "egress": maybe\n}')
    assert "line 3" in problem["detail"]


@pytest.mark.parametrize("fields, field, kind", [
    ({"colour": "red"}, "colour", "unknown-field"),
    ({"Name": "x"}, "Name", "unknown-field"),
    ({"status": "disabled"}, "status", "unknown-field"),
    ({"name": None}, "name", "wrong-type"),
    ({"name": 7}, "name", "wrong-type"),
    ({"name": ["a"]}, "name", "wrong-type"),
    ({"name": {}}, "name", "wrong-type"),
    ({"id": "acme"}, "id", "invalid-id"),
    ({"id": "00000000-0000-0000-0000-000000000000"}, "id", "invalid-id"),
    ({"id": 1}, "id", "wrong-type"),
    ({"addressing": "shared"}, "addressing", "invalid-value"),
    ({"addressing": True}, "addressing", "wrong-type"),
    ({"subnet": "10.0.0.1/16"}, "subnet", "invalid-prefix"),
    ({"subnet": "10.0.0.0/33"}, "subnet", "invalid-prefix"),
    ({"subnet": "10.0.0.0/8; rm -rf /"}, "subnet", "invalid-prefix"),
    ({"subnet": "acme"}, "subnet", "invalid-prefix"),
    ({"egress": 1}, "egress", "wrong-type"),
    ({"egress": "true"}, "egress", "wrong-type"),
    ({"limits": []}, "limits", "wrong-type"),
    ({"limits": {"speed": 1}}, "limits.speed", "unknown-field"),
    ({"limits": {"routers": -1}}, "limits.routers", "out-of-range"),
    ({"limits": {"routers": 2**32}}, "limits.routers", "out-of-range"),
    ({"limits": {"routers": 1.0}}, "limits.routers", "wrong-type"),
    ({"limits": {"bits_per_second": "1M"}}, "limits.bits_per_second", "wrong-type"),
])
def test_tenant_fields(api, name, fields, field, kind):
    api.refused(422, kind, "POST", "/tenants", {"name": name(), **fields}, field=field)


@pytest.mark.parametrize("wrong", [
    "", " ", " a", "a ", "a\tb", "a\nb", "a\x1b[31mb", "a\x7fb", "a\x9bb", "a\u2028b", "a\u202eb", "x" * 129, "é" * 65])
def test_names_that_forge_text(api, tenant, wrong):
    api.refused(422, None, "POST", "/tenants", {"name": wrong}, field="name")
    api.refused(422, None, "PATCH", f"/tenants/{tenant['id']}", {"name": wrong}, field="name")
    api.refused(422, None, "POST", f"/tenants/{tenant['id']}/routers", {"name": wrong}, field="name")


@pytest.mark.parametrize("fields, field, kind", [
    ({"tenant_id": "0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b"}, "tenant_id", "unknown-field"),
    ({"private_key": "x"}, "private_key", "unknown-field"),
    ({"public_key": None}, "public_key", "wrong-type"),
    ({"public_key": "abc"}, "public_key", "invalid-key"),
    ({"preshared_key": "yes please"}, "preshared_key", "invalid-key"),
    ({"preshared_key": True}, "preshared_key", "wrong-type"),
    ({"address": "10.0.0.256"}, "address", "invalid-address"),
    ({"address": "10.0.0.1/32"}, "address", "invalid-address"),
    ({"lans": "192.168.1.0/24"}, "lans", "wrong-type"),
    ({"lans": [1]}, "lans[0]", "wrong-type"),
    ({"lans": ["192.168.1.0/24", "192.168.2.1/24"]}, "lans[1]", "invalid-prefix"),
    ({"lans": ["192.168.1.0/24", None]}, "lans[1]", "wrong-type"),
])
def test_router_fields(api, tenant, name, fields, field, kind):
    api.refused(422, kind, "POST", f"/tenants/{tenant['id']}/routers", {"name": name(), **fields}, field=field)


def test_a_secret_is_not_repeated_in_a_refusal(api, tenant, name):
    almost = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmkX"
    problem = api.refused(422, "invalid-key", "POST", f"/tenants/{tenant['id']}/routers",
                          {"name": name(), "preshared_key": almost})
    assert almost not in str(problem)


def test_missing_name(api, tenant):
    api.refused(422, "missing-field", "POST", "/tenants", {}, field="name")
    api.refused(422, "missing-field", "POST", f"/tenants/{tenant['id']}/routers", {}, field="name")


@pytest.mark.parametrize("path, field, kind", [
    ("/tenants?colour=red", "colour", "unknown-parameter"),
    ("/tenants?limit=1&limit=2", "limit", "repeated-parameter"),
    ("/tenants?limit=0", "limit", "out-of-range"),
    ("/tenants?limit=1001", "limit", "out-of-range"),
    ("/tenants?limit=-1", "limit", "wrong-type"),
    ("/tenants?limit=1e2", "limit", "wrong-type"),
    ("/tenants?limit=", "limit", "wrong-type"),
    ("/tenants?status=gone", "status", "invalid-value"),
    ("/routers?status=gone", "status", "invalid-value"),
    ("/routers?connected=1", "connected", "wrong-type"),
    ("/routers?public_key=abc", "public_key", "invalid-key"),
    ("/routers?address=acme", "address", "invalid-address"),
    ("/routers?tenant_id=acme", "tenant_id", "invalid-id"),
    ("/events?wait=31", "wait", "out-of-range"),
    ("/events?after=-1", "after", "wrong-type"),
    ("/status?verbose=1", "verbose", "unknown-parameter"),
    ("/health?x", "x", "unknown-parameter"),
])
def test_query_parameters(api, path, field, kind):
    api.refused(422, kind, "GET", path, field=field)


def test_query_strings_that_are_no_text(api):
    api.refused(400, "invalid-utf8", "GET", "/tenants?name=%ff%fe")
    api.refused(400, "invalid-utf8", "GET", "/tenants?name=a%00b")


@pytest.mark.parametrize("path", [
    "/", "/tenant", "/tenants/", "/tenants/acme", "/tenants/..", "/routers/1", "/tenants/%2e%2e",
    "/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1", "/tenants/00000000-0000-0000-0000-000000000000",
    "/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b", "/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b/keys"])
def test_paths_that_are_not_there(api, path):
    api.refused(404, None, "GET", path)


@pytest.mark.parametrize("method, path, allow", [
    ("PUT", "/tenants", "POST, GET, HEAD"), ("DELETE", "/tenants", "POST, GET, HEAD"), ("POST", "/status", "GET, HEAD"),
    ("GET", "/tenants/bulk", "POST"), ("OPTIONS", "/health", "GET, HEAD"), ("BREW", "/health", "GET, HEAD"),
    ("GET", "/tokens/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b", "DELETE")])
def test_methods_that_are_not_there(api, method, path, allow):
    api.refused(405, "method-not-allowed", method, path)
    status, headers, _ = api.raw_unchecked(method, path)
    assert (status, headers["Allow"]) == (405, allow)


def test_head_is_get_without_its_body(api):
    status, headers, body = api.raw("HEAD", "/status")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 100


def test_bodies_where_there_should_be_none(api, tenant):
    api.refused(422, "unexpected-body", "POST", f"/tenants/{tenant['id']}/enable", {"force": True})
    api.refused(422, "unexpected-body", "GET", "/status", {"verbose": True})


def test_bodies_that_are_not_announced_as_json(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        api.refused(415, "unsupported-media-type", "POST", "/tenants", b"{}", headers={"Content-Type": kind})


def test_bodies_beyond_8_mib(api):
    api.refused(413, "body-too-large", "POST", "/tenants/bulk", b" " * (10 * MIB))
    api.refused(413, "body-too-large", "POST", "/tenants/bulk", b" " * (8 * MIB + 1))
    # and one that just fits is read
    api.refused(400, "malformed-json", "POST", "/tenants/bulk", b" " * (8 * MIB))
    # one object needs less
    api.refused(413, "body-too-large", "POST", "/tenants", b" " * (64 * 1024 + 1))
    api.refused(400, "malformed-json", "POST", "/tenants", b" " * (64 * 1024))


def test_a_large_body_for_a_path_that_is_not_there(api):
    api.refused(404, "not-found", "POST", "/nowhere", b" " * (9 * MIB))


@pytest.mark.parametrize("garbage", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300,  # TLS to a plain socket
    b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"\r\n" * 100, b"\x00" * 1000, b"A" * 100000,
    b"GET /v1/health HTTP/1.1\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n",
    b"GET /v1/health HTTP/1.1\r\n" + b"X-Header: y\r\n" * 20000 + b"\r\n",
    b"POST /v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/tenants HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/tenants HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{}",
])
def test_what_is_no_http_ends_the_connection_and_nothing_else(gateway, api, garbage):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(gateway.socket))
        answer = b""
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            pass
    assert answer == b"" or b" 4" in answer.split(b"\r\n")[0] or b" 505 " in answer.split(b"\r\n")[0] + b" "
    assert api.get("/health")["status"] == "ok"


def test_a_connection_that_says_nothing_hinders_nobody(gateway, api):
    silent = []
    for _ in range(50):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(gateway.socket))
        connection.send(b"POST /v1/ten")
        silent.append(connection)
    assert api.get("/health")["status"] == "ok"
    for connection in silent:
        connection.close()
