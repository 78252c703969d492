"""Who holds a router's session, what is counted of it, and initiations that were recorded on the wire."""
import base64
import itertools
import json
import pathlib
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "net"))

import noise  # noqa: E402
from fleet import until  # noqa: E402
from harness.gateway import program  # noqa: E402
from harness.probe import ping  # noqa: E402
from lab import Key  # noqa: E402

HUB = "10.0.0.1"
serial = itertools.count()


def holder(member, made):
    return member.api.get(f"/routers/{made['id']}")["gateway"]


@pytest.fixture
def joined(fleet):
    """A stock router, connected at north."""
    made = fleet.router(fleet.tenant())
    assert fleet.everywhere(lambda m: m.peer(made["public_key"])) is not None
    client = fleet.client(made, fleet.north).up()
    assert ping(client.namespace, [HUB], wait=5)
    return made, client


def test_the_holder_of_a_session_is_known_at_all_gateways(fleet, joined):
    made, client = joined
    for member in fleet.members:
        assert until(lambda m=member: holder(m, made) == "north")
    since = fleet.south.api.get(f"/routers/{made['id']}")["connected_since"]
    fleet.dial(client, fleet.east)
    assert ping(client.namespace, [HUB], wait=5)
    for member in fleet.members:
        assert until(lambda m=member: holder(m, made) == "east")
    moved = fleet.south.api.get(f"/routers/{made['id']}")
    assert moved["connected"] and moved["connected_since"] > since
    fleet.dial(client, fleet.north)
    assert ping(client.namespace, [HUB], wait=5)
    for member in fleet.members:
        assert until(lambda m=member: holder(m, made) == "north")
    told = subprocess.run([program(fleet.build, "sallyport"), "router", "show", made["id"]], text=True,
                          capture_output=True, check=True, env={"SALLYPORT_SOCKET": str(fleet.south.socket)})
    assert "at gateway north" in told.stdout


def test_a_move_is_an_event_and_a_new_handshake_is_none(fleet, joined):
    made, client = joined
    assert until(lambda: holder(fleet.south, made) == "north")
    assert fleet.in_step(20)
    after = fleet.south.status()["store"]["revision"]
    fleet.dial(client, fleet.north)  # a new session at the same gateway
    assert ping(client.namespace, [HUB], wait=5)
    time.sleep(2.5)
    assert [e for e in fleet.south.events(after) if e["router_id"] == made["id"]] == []
    fleet.dial(client, fleet.south)
    assert ping(client.namespace, [HUB], wait=5)
    assert until(lambda: [e["kind"] for e in fleet.north.events(after) if e["router_id"] == made["id"]]
                 == ["router.connected"])


def test_a_tenant_counts_a_router_once_wherever_it_goes(fleet, joined):
    made, client = joined
    tenant = f"/tenants/{made['tenant_id']}"
    for member in (*fleet.members, *fleet.members):
        fleet.dial(client, member)
        assert ping(client.namespace, [HUB], wait=5)
        assert until(lambda m=member: holder(fleet.north, made) == m.name)
        assert until(lambda: fleet.south.api.get(tenant)["connected_routers"])
        assert fleet.south.api.get(tenant)["connected_routers"] == 1
    fleet.north.api.post(f"/routers/{made['id']}/disable")
    assert until(lambda: fleet.east.api.get(tenant)["connected_routers"] == 0)
    assert until(lambda: holder(fleet.east, made) is None)


def totals(fleet, made):
    """Bytes of the router, and of its tenant, as each gateway says once all is written."""
    routers = [m.api.get(f"/routers/{made['id']}") for m in fleet.members]
    tenants = [m.api.get(f"/tenants/{made['tenant_id']}") for m in fleet.members]
    return ({(r["bytes_received"], r["bytes_sent"]) for r in routers},
            {(t["bytes_received"], t["bytes_sent"]) for t in tenants})


def test_counters_of_all_gateways_add_up(fleet, joined):
    """What the engines count is what the database says, though gateways are killed and stopped meanwhile."""
    made, client = joined
    for turn in range(6):
        member = fleet.members[turn % 3]
        fleet.dial(client, member)
        assert ping(client.namespace, [HUB], wait=5)
        if turn % 3 == 1:
            member.kill()
            member.start()
        elif turn % 3 == 2:
            member.end()
            member.start()
    client.close()
    time.sleep(1.5)
    counted = [member.peer(made["public_key"]) for member in fleet.members]
    truth = sum(c["rx"] for c in counted), sum(c["tx"] for c in counted)
    for member in fleet.members:  # what is in memory only is written at the end
        member.end()
        member.start()
    assert until(lambda: totals(fleet, made) == ({truth}, {truth})), (truth, totals(fleet, made))
    rows = fleet.server.sql("SELECT COUNT(*) FROM vpn_counted c JOIN vpn_configurations r ON r.id = c.router_id "
                            f"WHERE r.router_id = '{made['id']}'", fleet.database)
    assert int(rows) == 3


def test_reads_are_fresh_although_rows_are_not_written(fleet, joined):
    made, client = joined
    assert until(lambda: holder(fleet.north, made) == "north")
    row = f"SELECT bytes_received FROM vpn_configurations WHERE router_id = '{made['id']}'"
    written = fleet.server.sql(row, fleet.database)
    before = fleet.north.api.get(f"/routers/{made['id']}")["bytes_received"]
    for _ in range(3):
        assert ping(client.namespace, [HUB], wait=5)
    assert until(lambda: fleet.north.api.get(f"/routers/{made['id']}")["bytes_received"] > before)
    assert fleet.north.api.get(f"/tenants/{made['tenant_id']}")["bytes_received"] > before
    assert fleet.server.sql(row, fleet.database) == written


# --- recorded initiations ---

@pytest.fixture
def recorded(fleet):
    """A router of Python that can repeat itself: (made, peer of north, its initiation, which was answered)."""
    tenant = fleet.tenant()
    key = Key()
    made = fleet.north.api.post(f"/tenants/{tenant}/routers",
                                {"name": "p", "public_key": base64.b64encode(key.public).decode()})
    assert fleet.everywhere(lambda m: m.peer(made["public_key"])) is not None
    namespace = fleet.network.host(f"n{next(serial)}")
    with namespace.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server = base64.b64decode(fleet.north.status()["gateway"]["public_key"])
    peer = noise.Peer(sock, server, (fleet.north.address, 51820), key)
    message = peer.initiation()
    peer.send(message)
    response = peer.receive(noise.RESPONSE)
    assert response
    peer.session = peer.finish(response)
    peer.send(peer.session.seal(b""))  # the first data message makes it a session
    yield made, peer, message
    sock.close()


def answered(peer, message, member):
    peer.send(message, (member.address, 51820))
    return peer.receive(noise.RESPONSE, timeout=1) is not None


def test_a_recorded_initiation_is_refused_at_a_second_gateway(fleet, recorded):
    made, peer, message = recorded
    for member in fleet.members:
        assert until(lambda m=member: holder(m, made) == "north")
    for member in fleet.members:
        before = member.peer(made["public_key"])
        assert not answered(peer, message, member)
        assert member.peer(made["public_key"])["handshake"] == before["handshake"]
    assert answered(peer, peer.initiation(), fleet.south)  # a fresh one is welcome


def test_a_recorded_initiation_is_refused_after_a_restart(fleet, recorded):
    made, peer, message = recorded
    assert until(lambda: holder(fleet.south, made) == "north")
    fleet.north.end_engine()
    assert until(lambda: fleet.north.peer(made["public_key"]), 15)
    assert not answered(peer, message, fleet.north)
    fleet.north.kill()
    fleet.north.end_engine()
    fleet.north.start()  # neither of them knows anything but what is in the database
    assert until(lambda: fleet.north.peer(made["public_key"]), 15)
    assert not answered(peer, message, fleet.north)
    assert answered(peer, peer.initiation(), fleet.north)


def test_a_recorded_rekey_is_refused_after_the_engine_restarts(fleet, recorded):
    """Rekeys are not written one by one: memory has the greatest timestamp."""
    made, peer, _ = recorded
    assert until(lambda: holder(fleet.south, made) == "north")
    rekey = peer.initiation()
    peer.send(rekey)
    peer.session = peer.finish(peer.receive(noise.RESPONSE))
    peer.send(peer.session.seal(b""))
    time.sleep(2.5)  # a reading of the data plane
    fleet.north.end_engine()
    assert until(lambda: fleet.north.peer(made["public_key"]), 15)
    assert not answered(peer, rekey, fleet.north)


def test_an_unfinished_handshake_moves_nothing(fleet, recorded):
    made, peer, _ = recorded
    assert until(lambda: holder(fleet.south, made) == "north")
    assert answered(peer, peer.initiation(), fleet.east)  # answered, but no data follows
    time.sleep(2.5)
    assert [holder(member, made) for member in fleet.members] == ["north"] * 3


def test_what_is_connected_is_listed_at_every_gateway(fleet, joined):
    made, _ = joined
    for member in fleet.members:
        path = f"/tenants/{made['tenant_id']}/routers?connected=true"
        assert until(lambda m=member, p=path: [r["id"] for r in m.api.get(p)["items"]] == [made["id"]])
    assert json.dumps(fleet.north.api.get(f"/routers/{made['id']}"))
