"""What one caller, or a stranger, may take of the API: memory, connections, turns. Everybody else goes on.

Each test sends what is too much, and then, on the same gateway, what must still be served."""
import contextlib
import http.client
import json
import pathlib
import re
import socket
import sqlite3
import threading
import time

import pytest
from conftest import BUILD, TCP, wait_until

MIB = 1 << 20
# A sanitizer's allocations are larger, and AddressSanitizer keeps what is freed: its memory says nothing of ours.
SANITIZED = any(mark in (BUILD / "src/daemon/sallyportd").read_bytes() for mark in (b"__asan_init", b"__tsan_init"))
HOST, PORT = TCP.split(":")


def resident(gateway):
    """Bytes of memory that the daemon holds."""
    for line in pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@pytest.fixture
def busy(make_gateway):
    """A gateway with two tenants, each with a token that may write."""
    gateway = make_gateway({"api": {"listen": TCP, "tenant_writes_per_second": 5}})
    gateway.tenants = []
    for name in ("storm", "calm"):
        tenant = gateway.api.post("/tenants", {"name": name})
        token = gateway.api.post("/tokens", {"name": name, "scope": "tenant-write", "tenant_id": tenant["id"]})
        gateway.tenants.append((tenant["id"], token["token"]))
    return gateway


def connect(gateway, timeout=30):
    with gateway.namespace.inside():
        return socket.create_connection((HOST, int(PORT)), timeout=timeout)


def head(method, path, token=None, *lines):
    said = [f"{method} /v1{path} HTTP/1.1", "Host: x", *lines]
    if token:
        said.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(said) + "\r\n\r\n").encode()


def answer_of(connection):
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    content = answer.read()
    return answer.status, answer.headers, json.loads(content) if content else None


def ask(gateway, *arguments, body=b""):
    with contextlib.closing(connect(gateway)) as connection:
        connection.sendall(head(*arguments) + body)
        return answer_of(connection)


def kind(answer):
    return answer[2]["type"].rpartition(":")[2]


def assert_serves(gateway):
    """Strangers get to see the health, and the calm tenant writes and reads."""
    assert ask(gateway, "GET", "/health")[0] == 200
    tenant_id, token = gateway.tenants[1]
    body = b'{"name": "r"}'
    made = ask(gateway, "POST", f"/tenants/{tenant_id}/routers", token, "Content-Type: application/json",
               f"Content-Length: {len(body)}", body=body)
    assert made[0] == 201, made


# --- memory ---

def test_a_body_where_none_belongs_is_not_kept(busy):
    """256 strangers each send 8 MiB to a route that is open to all, and never end their request."""
    before = resident(busy)
    piece = b"x" * 65536
    connections = []
    try:
        for _ in range(256):
            connection = connect(busy)
            connection.settimeout(0.2)
            connections.append(connection)
            with contextlib.suppress(OSError):
                connection.sendall(head("POST", "/health", None, "Transfer-Encoding: chunked"))
                for _ in range(16):
                    connection.sendall(b"10000\r\n" + piece + b"\r\n")
        assert SANITIZED or resident(busy) - before < 64 * MIB
        assert_serves(busy)
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("route", ["/routers/bulk", "/tenants/{}/routers/bulk"])
@pytest.mark.parametrize("body", [b'{"routers":[' + b"{}," * (8 * MIB // 3 - 8) + b"{}]}",
                                  b'{"x":[' + b"[]," * (8 * MIB // 3 - 8) + b"[]]}"], ids=["objects", "arrays"])
def test_a_few_bytes_do_not_become_hundreds_of_megabytes(busy, route, body):
    tenant_id, token = busy.tenants[0]
    assert_serves(busy)
    alone = ask(busy, "POST", route.format(tenant_id), token, "Content-Type: application/json",
                f"Content-Length: {len(body)}", body=body)
    assert kind(alone) == "body-too-large"
    before = resident(busy)
    most = [0]
    done = threading.Event()

    def watch():
        while not done.is_set():
            most[0] = max(most[0], resident(busy) - before)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    answers = []

    def send():
        try:
            answers.append(ask(busy, "POST", route.format(tenant_id), token, "Content-Type: application/json",
                               f"Content-Length: {len(body)}", body=body))
        except OSError:
            answers.append(None)

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    done.set()
    watcher.join()
    assert all(answer and answer[0] in (413, 429) for answer in answers), [answer and answer[2] for answer in answers]
    assert_serves(busy)
    if SANITIZED:
        return
    assert most[0] < 64 * MIB, most[0]
    wait_until(lambda: resident(busy) - before < 16 * MIB, what="memory given back")


def test_a_single_object_has_a_small_budget(busy):
    tenant_id, token = busy.tenants[0]
    body = b'{"name": "r", "lans": [' + b"{}," * 20000 + b"{}]}"
    assert len(body) < 64 * 1024
    answer = ask(busy, "POST", f"/tenants/{tenant_id}/routers", token, "Content-Type: application/json",
                 f"Content-Length: {len(body)}", body=body)
    assert answer[0] == 413 and kind(answer) == "body-too-large"


def test_refusals_in_bulk_are_not_kept(busy):
    """Nothing was made, so the second try is another one; and the disk does not fill with refusals."""
    tenant_id, token = busy.tenants[0]
    body = json.dumps({"routers": [{}] * 1000}).encode()
    for _ in range(2):
        answer = ask(busy, "POST", f"/tenants/{tenant_id}/routers/bulk", token, "Content-Type: application/json",
                     "Idempotency-Key: same", f"Content-Length: {len(body)}", body=body)
        assert answer[0] == 200 and answer[2]["failed"] == 1000 and answer[1]["Idempotency-Replayed"] is None
    body = json.dumps({"routers": [{}, {"name": "made"}]}).encode()
    answers = [ask(busy, "POST", f"/tenants/{tenant_id}/routers/bulk", token, "Content-Type: application/json",
                   "Idempotency-Key: other", f"Content-Length: {len(body)}", body=body) for _ in range(2)]
    assert answers[0][2] == answers[1][2] and answers[1][1]["Idempotency-Replayed"] == "true"


# --- connections ---

def test_silent_connections_keep_nobody_out(busy):
    silent = []
    try:
        for _ in range(300):
            silent.append(connect(busy))
        assert_serves(busy)
    finally:
        for connection in silent:
            connection.close()


def test_a_head_that_never_ends_is_ended(busy):
    with contextlib.closing(connect(busy)) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n")
        connection.settimeout(20)
        assert connection.recv(1) == b""


def test_a_tenants_connections_keep_nobody_out(busy):
    """All in the middle of a request, and never done with it."""
    tenant_id, token = busy.tenants[0]
    hung = []
    refused = 0
    try:
        for _ in range(280):
            connection = connect(busy, timeout=5)
            hung.append(connection)
            connection.sendall(head("POST", f"/tenants/{tenant_id}/routers", token, "Content-Type: application/json",
                                    "Content-Length: 60000") + b"{")
        assert_serves(busy)
        for connection in hung:
            connection.settimeout(0.02)
            with contextlib.suppress(OSError):
                refused += b" 429 " in connection.recv(4096)
    finally:
        for connection in hung:
            connection.close()


def test_long_polls_have_a_share(busy):
    tenant_id, token = busy.tenants[0]
    newest = busy.api.get("/events")["newest"]
    polls = []
    try:
        for _ in range(8):
            connection = connect(busy, timeout=40)
            connection.sendall(head("GET", f"/events?after={newest}&wait=30", token))
            polls.append(connection)
        time.sleep(0.5)
        answer = ask(busy, "GET", f"/events?after={newest}&wait=30", token)
        assert answer[0] == 429 and kind(answer) == "too-many-polls" and int(answer[1]["Retry-After"]) >= 1
        assert ask(busy, "GET", f"/events?after={newest}", token)[0] == 200
        assert ask(busy, "GET", f"/events?after={newest}&wait=1", busy.tenants[1][1])[0] == 200
        busy.api.post(f"/tenants/{tenant_id}/routers", {"name": "news"})
        for connection in polls:
            status, _, events = answer_of(connection)
            assert status == 200 and [event["kind"] for event in events["items"]] == ["router.created"]
    finally:
        for connection in polls:
            connection.close()


def test_writes_have_a_share(busy):
    """The bucket holds ten seconds' worth; reads are not counted, nor other tenants, nor the operator."""
    tenant_id, token = busy.tenants[0]
    patch = b'{"name": "storm"}'
    statuses = []
    retry = None
    for _ in range(100):
        answer = ask(busy, "PATCH", "/routers/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b", token, "Content-Type: application/json",
                     f"Content-Length: {len(patch)}", body=patch)
        statuses.append(answer[0])
        if answer[0] == 429:
            retry = int(answer[1]["Retry-After"])
            assert kind(answer) == "too-many-writes"
            break
    assert statuses.count(404) >= 50 and retry == 1, statuses
    assert ask(busy, "GET", f"/tenants/{tenant_id}", token)[0] == 200
    assert_serves(busy)
    busy.api.post(f"/tenants/{tenant_id}/routers", {"name": "by the operator"})
    time.sleep(retry)
    assert ask(busy, "PATCH", "/routers/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b", token, "Content-Type: application/json",
               f"Content-Length: {len(patch)}", body=patch)[0] == 404


# --- what a request is ---

@pytest.mark.parametrize("lines", [
    ("Content-Length: 2", "Content-Length: 2"), ("Content-Length: 2", "Content-Length: 30"),
    ("Content-Length: 2", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked", "Content-Length: 2"),
])
def test_a_request_of_two_lengths_is_refused_and_nothing_follows(busy, lines):
    _, token = busy.tenants[0]
    with contextlib.closing(connect(busy)) as connection:
        connection.sendall(head("POST", "/tenants", token, "Content-Type: application/json", *lines)
                           + b"{}" + head("GET", "/health"))
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                said += piece
    assert said.startswith(b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1 ") == 1, said


def test_a_change_that_changes_nothing_is_no_event(busy):
    tenant_id, token = busy.tenants[0]
    router = busy.api.post(f"/tenants/{tenant_id}/routers", {"name": "same", "lans": ["192.168.7.0/24"]})
    before = busy.api.get("/events")["newest"]
    tenant = busy.api.get(f"/tenants/{tenant_id}")
    assert busy.api.patch(f"/tenants/{tenant_id}", {"name": tenant["name"], "egress": tenant["egress"],
                                                    "limits": tenant["limits"]}) == tenant
    assert busy.api.patch(f"/tenants/{tenant_id}", {}) == tenant
    same = busy.api.patch(f"/routers/{router['id']}", {"name": "same", "lans": ["192.168.7.0/24"]})
    assert same["updated_at"] == router["updated_at"] and same["lans"] == router["lans"]
    assert busy.api.get("/events")["newest"] == before
    assert busy.api.patch(f"/routers/{router['id']}", {"name": "other"})["name"] == "other"
    assert busy.api.get("/events")["newest"] == before + 1


def test_where_the_database_is_stays_with_those_who_run_it(busy):
    """Over TCP nobody is told its file; the log has it, under the request's id, and so has root on the socket."""
    tenant_id, token = busy.tenants[0]
    admin = busy.api.post("/tokens", {"name": "a", "scope": "admin"})["token"]
    body = b'{"name": "r"}'
    files = str(busy.folder)
    with contextlib.closing(sqlite3.connect(busy.folder / "sallyport.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for caller in (token, admin):
            answer = ask(busy, "POST", f"/tenants/{tenant_id}/routers", caller, "Content-Type: application/json",
                         f"Content-Length: {len(body)}", body=body)
            assert answer[0] == 503 and kind(answer) == "store-locked"
            assert files not in json.dumps(answer[2]) and ".db" not in json.dumps(answer[2]), answer[2]
            log = (busy.folder / "sallyportd.log").read_text(encoding="utf-8")
            assert re.search(rf"request {answer[1]['X-Request-Id']}: The database {re.escape(files)}\S*\.db is locked", log), log
        answer = ask(busy, "POST", f"/tenants/{tenant_id}/routers/bulk", token, "Content-Type: application/json",
                     f"Content-Length: {len(body) + 14}", body=b'{"routers": [' + body + b"]}")
        assert files not in json.dumps(answer[2]), answer[2]
        status, _, content = busy.api.raw("POST", f"/tenants/{tenant_id}/routers", body)
        assert status == 503 and files in json.loads(content)["detail"]
