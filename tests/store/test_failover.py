"""A server that is there and of no use for the moment."""
import json

from conftest import wait_until
from cutter import Cutter
from harness.api import ApiError


def refused(api, method, path, body=None):
    status, headers, content = api.raw(method, path, json.dumps(body).encode() if body is not None else None)
    assert status == 503 and headers["Retry-After"], (status, content)
    return json.loads(content)


def create(api, name):
    try:
        return api.post("/tenants", {"name": name})
    except ApiError as error:
        assert error.status == 503
        return None


def test_a_server_that_lets_in_and_then_says_nothing_holds_nobody_up(server, make_gateway):
    cutter = Cutter(server)
    try:
        server.database("fleet")
        gateway = make_gateway(cutter.url("fleet"))
        gateway.api.post("/tenants", {"name": "t"})
        cutter.mute = True
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fleet'")
        # an answer, before the client loses patience
        assert refused(gateway.client(timeout=50), "POST", "/tenants", {"name": "x"})["type"].endswith(":store-away")
        cutter.mute = False
        assert wait_until(lambda: create(gateway.api, "again"), 30)
    finally:
        cutter.mute = False
        cutter.close()
