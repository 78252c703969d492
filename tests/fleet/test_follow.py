"""What one gateway commits is in force at all, in order, at once."""
import threading
import time

import pytest

from fleet import until
from harness.api import ApiError
from harness.client import key_pair

PROMPT = 5.0  # by the feed; a comparison would come after 60 (figures: tests/bench/fleet.py)


def test_a_router_added_on_one_gateway_is_accepted_by_all(fleet):
    tenant = fleet.tenant()
    for member in fleet.members:
        made = fleet.router(tenant, at=member)
        seconds = fleet.everywhere(lambda m, key=made["public_key"]: m.peer(key))
        assert seconds is not None and seconds < PROMPT


@pytest.mark.parametrize("verb", ["delete", "disable", "rotate", "tenant-disable", "tenant-delete"])
def test_a_revoked_router_is_refused_by_all(fleet, verb):
    tenant = fleet.tenant()
    made = fleet.router(tenant, at=fleet.north)
    assert fleet.everywhere(lambda m: m.peer(made["public_key"])) is not None
    api = fleet.south.api
    if verb == "delete":
        api.delete(f"/routers/{made['id']}")
    elif verb == "tenant-disable":
        api.post(f"/tenants/{tenant}/disable")
    elif verb == "tenant-delete":
        api.delete(f"/tenants/{tenant}")
    else:
        api.post(f"/routers/{made['id']}/{verb}", {"public_key": key_pair()[1]} if verb == "rotate" else None)
    seconds = fleet.everywhere(lambda m: not m.peer(made["public_key"]))
    assert seconds is not None and seconds < PROMPT


def test_a_gateway_that_adopted_still_follows_the_others(fleet):
    """The routers that it took over are revoked elsewhere, and it hears of that."""
    peers = [{"public_key": key_pair()[1], "allowed_ips": [f"10.66.0.{number}/32"]} for number in (2, 3, 4)]
    adopted = fleet.north.api.post("/adoption", {"tenant": {"name": "old server"}, "peers": peers})
    assert fleet.everywhere(lambda m: all(m.peer(p["public_key"]) for p in peers)) is not None
    routers = fleet.south.api.get(f"/tenants/{adopted['tenant']['id']}/routers")["items"]
    for made in routers:
        fleet.south.api.delete(f"/routers/{made['id']}")
        assert fleet.everywhere(lambda m, key=made["public_key"]: not m.peer(key), PROMPT) is not None
    assert fleet.in_step()
    for member in fleet.members:
        assert member.status()["reconcile"]["mended"] == 0


def test_what_was_disabled_comes_back_everywhere(fleet):
    tenant = fleet.tenant()
    made = [fleet.router(tenant, at=member) for member in fleet.members]
    fleet.east.api.post(f"/tenants/{tenant}/disable")
    assert fleet.everywhere(lambda m: not any(m.peer(r["public_key"]) for r in made)) is not None
    fleet.north.api.post(f"/tenants/{tenant}/enable")
    assert fleet.everywhere(lambda m: all(m.peer(r["public_key"]) for r in made)) is not None


def test_a_tenant_made_here_has_routers_made_there_at_once(fleet):
    """The other gateway catches up before it brings its own change into force."""
    for turn in range(20):
        first, second = fleet.members[turn % 3], fleet.members[(turn + 1) % 3]
        made = fleet.router(fleet.tenant(at=first), at=second)
        assert second.peer(made["public_key"])
    for member in fleet.members:
        reconcile = member.status()["reconcile"]
        assert (reconcile["state"], reconcile["trouble"]) == ("in-sync", None)


def test_lans_are_routes_at_every_gateway(fleet):
    tenant = fleet.tenant(addressing="unique")
    made = fleet.router(tenant)
    fleet.south.api.patch(f"/routers/{made['id']}", {"lans": ["172.20.1.0/24", "172.20.2.0/24"]})

    def routes(member):
        return member.namespace.ip("route", "show", "table", "all", "dev", member.interface)

    assert fleet.everywhere(lambda m: "172.20.1.0/24" in routes(m) and "172.20.2.0/24" in routes(m)) is not None
    fleet.east.api.patch(f"/routers/{made['id']}", {"lans": ["172.20.2.0/24"]})
    assert fleet.everywhere(lambda m: "172.20.1.0/24" not in routes(m)) is not None
    fleet.north.api.delete(f"/routers/{made['id']}")
    assert fleet.everywhere(lambda m: "172.20.2.0/24" not in routes(m)) is not None


def test_counts_events_and_waiters_follow(fleet):
    assert fleet.in_step()
    before = fleet.east.status()
    seen = {}

    def wait():
        seen["page"] = Api(fleet.east).get(f"/events?after={before['store']['revision']}&wait=10")
        seen["at"] = time.monotonic()

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.2)
    tenant = fleet.tenant()
    committed = time.monotonic()
    fleet.router(tenant)
    waiter.join()
    assert seen["page"]["items"][0]["kind"] == "tenant.created" and seen["at"] - committed < PROMPT
    assert fleet.in_step()
    after = fleet.east.status()["counts"]
    assert after["tenants"] == before["counts"]["tenants"] + 1
    assert after["routers"] == before["counts"]["routers"] + 1
    fleet.south.api.delete(f"/tenants/{tenant}")
    assert fleet.in_step()
    after = fleet.east.status()["counts"]
    assert (after["tenants"], after["routers"]) == (before["counts"]["tenants"], before["counts"]["routers"])


def Api(member):  # a connection of one's own: those of the fleet belong to the main thread
    from harness.api import Api as Make
    return Make(member.socket)


def test_a_token_made_here_opens_there_until_it_is_revoked(fleet):
    made = fleet.north.api.post("/tokens", {"name": "t", "scope": "admin"})
    assert made["id"] in [token["id"] for token in fleet.south.api.get("/tokens")["items"]]
    fleet.east.api.delete(f"/tokens/{made['id']}")
    assert made["id"] not in [token["id"] for token in fleet.south.api.get("/tokens")["items"]]


def test_a_gateway_that_was_away_is_brought_up_to_date(fleet):
    tenant = fleet.tenant()
    old = fleet.router(tenant)
    assert fleet.everywhere(lambda m: m.peer(old["public_key"])) is not None
    fleet.east.kill()
    fleet.north.api.delete(f"/routers/{old['id']}")
    new = fleet.router(tenant)
    assert fleet.east.peer(old["public_key"])  # its engine goes on with what it has
    fleet.east.start()
    assert until(lambda: fleet.east.peer(new["public_key"]) and not fleet.east.peer(old["public_key"]))


def test_below_the_feeds_floor_everything_is_compared(fleet):
    """The feed is compacted while a gateway hears nothing: it cannot follow change by change."""
    tenant = fleet.tenant()
    old = fleet.router(tenant)
    assert fleet.everywhere(lambda m: m.peer(old["public_key"])) is not None
    fleet.east.relay.cut()
    fleet.north.api.delete(f"/routers/{old['id']}")
    new = fleet.router(tenant)
    fleet.server.sql("DELETE FROM vpn_changes", fleet.database)
    fleet.east.relay.heal()
    assert until(lambda: fleet.east.peer(new["public_key"]) and not fleet.east.peer(old["public_key"]), 15)
    fleet.east.wait_in_sync()
    assert fleet.east.status()["counts"] == fleet.north.status()["counts"]


def test_connections_that_the_database_ends_are_made_again(fleet):
    tenant = fleet.tenant()
    for _ in range(5):
        fleet.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                         "AND backend_type = 'client backend'")
        made = None
        end = time.monotonic() + 10
        while made is None and time.monotonic() < end:
            try:
                made = fleet.router(tenant, at=fleet.south)
            except ApiError as error:
                assert error.status == 503
        assert fleet.everywhere(lambda m, key=made["public_key"]: m.peer(key), 10) is not None


def test_the_endpoint_in_the_rows_is_not_fought_over(fleet):
    """Each gateway has another endpoint: a restart must not write its own into everybody's rows."""
    made = fleet.router(fleet.tenant(at=fleet.north), at=fleet.north)
    row = f"SELECT server_endpoint FROM vpn_configurations WHERE router_id = '{made['id']}'"
    before = fleet.server.sql(row, fleet.database)
    fleet.south.end()
    fleet.south.start()
    assert fleet.server.sql(row, fleet.database) == before == fleet.north.address
