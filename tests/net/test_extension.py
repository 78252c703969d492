"""The socket's extension as docs/uapi.md states it, on a gateway that forwards.

The topology is drawn in tenancy.py; here with a1, a2 and b1.
"""
import errno
import os
import signal
import time

import pytest

from lab import Key, Uapi, wait_until
from tenancy import A, B, HUB, HUB6, Answerers, Stage, ask_udp

pytestmark = pytest.mark.ours
UNREACHED = (errno.EHOSTUNREACH, errno.ENETUNREACH, None)


@pytest.fixture(scope="module")
def stage():
    with Stage(wanted=("a1", "a2", "b1")) as made:
        answerers = Answerers(made)
        yield made
        answerers.close()


@pytest.fixture
def a1(stage):
    return stage.routers["a1"]


def keys_of(answer):
    return [key for key, _ in answer]


def test_answer_is_in_the_stated_order(stage):
    keys = keys_of(stage.hub.request("get=1", "sallyport=1"))
    first = [keys.index(key) for key in ("private_key", "hub", "workers", "tenant", "public_key",
                                         "counter.udp_received", "now")]
    assert first == sorted(first) and keys[-1] == "now"


@pytest.mark.parametrize("part, has", [("device", "workers"), ("tenants", "tenant"), ("peers", "public_key"),
                                       ("counters", "counter.handshakes")])
def test_only_a_part_is_answered(stage, part, has):
    keys = set(keys_of(stage.hub.request("get=1", "sallyport=1", f"only={part}")))
    assert has in keys and "now" in keys
    for other in {"workers", "tenant", "public_key", "counter.handshakes"} - {has}:
        assert other not in keys


def test_two_parts(stage):
    keys = set(keys_of(stage.hub.request("get=1", "sallyport=1", "only=tenants", "only=counters")))
    assert {"tenant", "counter.handshakes"} <= keys and not {"workers", "public_key"} & keys


def changed_since(stage, mark):
    said = stage.hub.get("sallyport=1", "only=peers", f"since={mark}")
    return set(said["peers"]), said["now"]


def test_since_tells_who_changed_and_nobody_else(stage, a1):
    b1 = stage.routers["b1"]
    for router in stage.routers.values():  # or their keepalives count too
        router.device.set(f"public_key={stage.hub.key.hex}", "persistent_keepalive_interval=0")

    def quiet():
        peers, mark = changed_since(stage, stage.hub.get("sallyport=1", "only=device")["now"])
        time.sleep(0.3)
        return mark if not changed_since(stage, mark)[0] else None
    mark = wait_until(quiet, 15)
    assert a1.space.ping(HUB)
    peers, later = changed_since(stage, mark)
    assert peers == {a1.device.key.hex}
    # what a set changed is known to who set it
    stage.hub.set(f"public_key={b1.device.key.hex}", "persistent_keepalive_interval=0")
    assert b1.device.key.hex not in changed_since(stage, mark)[0]
    assert b1.space.ping(HUB)
    assert changed_since(stage, later)[0] - {a1.device.key.hex} == {b1.device.key.hex}
    assert len(changed_since(stage, 0)[0]) == 3


def test_requests_in_one_breath(stage):
    """Sent without waiting; answered in order."""
    with stage.hub.connect() as s:
        s.sendall(b"get=1\nsallyport=1\nonly=device\n\n" b"set=1\nfwmark=0\n\n\n\n" b"set=1\nfwmark=x\n\n"
                  b"get=1\nsallyport=1\nonly=counters\n\n")
        heard = b""
        while heard.count(b"errno=") < 4 or not heard.endswith(b"\n\n"):
            heard += s.recv(65536)
    parts = heard.split(b"\n\n")[:-1]
    assert [part.split(b"errno=")[1] == b"0" for part in parts] == [True, True, False, True]
    assert b"workers=" in parts[0] and b"counter." in parts[3]


def test_what_stood_before_a_faulty_line_is_applied_and_the_line_is_named(stage):
    key = Key()
    with pytest.raises(Uapi) as refused:
        stage.hub.set("sallyport=1", "fwmark=5", f"public_key={key.hex}", "allowed_ip=10.77.0.0/16", "endpoint=nowhere",
                      "fwmark=6")
    assert "error=line 6: endpoint" in refused.value.text
    assert stage.hub.get()["fwmark"] == "5"
    stage.hub.set("fwmark=0", f"public_key={key.hex}", "remove=true")


def test_all_changes_are_in_force_when_the_answer_comes(stage, a1):
    for _ in range(50):
        stage.hub.set(f"public_key={a1.device.key.hex}", f"allowed_ip=-{a1.inside}/32")
        assert f"{a1.inside}/32" not in stage.hub.peer(a1.device)["allowed_ip"]
        stage.hub.set(f"public_key={a1.device.key.hex}", f"allowed_ip={a1.inside}/32")
        assert f"{a1.inside}/32" in stage.hub.peer(a1.device)["allowed_ip"]
    assert ask_udp(stage.gw, HUB, a1.hub_address) == "a1"


def test_hub_list_is_replaced_added_to_and_emptied(stage, a1):
    stage.gw.ip(f"addr add 10.0.0.3/32 dev {stage.hub.name}")
    try:
        assert ask_udp(stage.routers["b1"].space, "10.100.0.2", "10.0.0.3") == errno.EHOSTUNREACH, "not the hub's yet"
        stage.hub.set(f"hub={HUB}/32", f"hub={HUB6}/128", "hub=10.0.0.3/32")
        assert ask_udp(stage.routers["b1"].space, "10.100.0.2", "10.0.0.3") == "hub"
        stage.hub.set("hub=10.0.0.3/32")
        assert ask_udp(stage.routers["b1"].space, "10.100.0.2", HUB, timeout=0.3) in UNREACHED
        stage.hub.set("replace_hub=true")
        assert "hub" not in stage.hub.get("sallyport=1", "only=device")
    finally:
        stage.hub.set(f"hub={HUB}/32", f"hub={HUB6}/128")
        stage.gw.ip(f"addr del 10.0.0.3/32 dev {stage.hub.name}")
    assert ask_udp(a1.space, a1.inside, HUB) == "hub"


def test_hub_address_changes_live(stage, a1):
    stage.hub.set(f"public_key={a1.device.key.hex}", f"hub_address=10.200.9.9={a1.inside}",
                  f"hub_address={a1.address6}")
    try:
        assert ask_udp(stage.gw, HUB, "10.200.9.9") == "a1"
        assert ask_udp(stage.gw, HUB, a1.hub_address, timeout=0.3) in UNREACHED
        stage.hub.set(f"public_key={a1.device.key.hex}", "hub_address=")
        assert stage.hub.get("sallyport=1", "only=peers")["peers"][a1.device.key.hex]["hub_address"] == []
        assert ask_udp(stage.gw, HUB, "10.200.9.9", timeout=0.3) in UNREACHED
        assert ask_udp(a1.space, a1.inside, HUB, timeout=0.3) is None, "without one it cannot speak to the hub either"
        assert ask_udp(a1.space, a1.inside, "10.100.0.3") == "a2", "but with its neighbours"
    finally:
        stage.admit(a1)
    assert ask_udp(stage.gw, HUB, a1.hub_address) == "a1"


def test_tenant_section_states_the_whole_tenant(stage):
    stage.hub.set(f"tenant={A}", "addressing=private", "egress=true", "limit_packets_per_second=5000")
    stage.hub.set(f"tenant={A}", "addressing=private")
    said = stage.hub.tenant(A)
    assert (said["egress"], said["limit_packets_per_second"]) == ("false", "0")
    stage.hub.set(f"tenant={A}", "addressing=private", "egress=true")


def test_peer_of_no_tenant_after_it_left_one(stage, a1):
    """It keeps nothing of the tenant's: no allowed IPs, no hub address, no session."""
    stage.hub.set(f"public_key={a1.device.key.hex}", "peer_tenant=00000000-0000-0000-0000-000000000000")
    try:
        said = stage.hub.get("sallyport=1", "only=peers")["peers"][a1.device.key.hex]
        assert said["allowed_ip"] == [] and said["hub_address"] == []
        assert ask_udp(stage.gw, HUB, a1.hub_address, timeout=0.3) in UNREACHED
    finally:
        stage.admit(a1)
        a1.device.set(f"public_key={stage.hub.key.hex}", "remove=true")
        a1.device.add(stage.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820", keepalive=25)
        stage.settle(a1)


def test_restarted_engine_calls_on_a_peer_by_its_last_endpoint(stage):
    """Killed without a word. The new one is told what the old one knew, and the host reaches the router at once."""
    b1 = stage.routers["b1"]
    known = stage.hub.get("sallyport=1")["peers"][b1.device.key.hex]
    old = stage.hub
    old.process.send_signal(signal.SIGKILL)
    old.process.wait()
    stage.devices.remove(old)
    os.unlink(old.path)
    stage.hub = stage.device(stage.gw, implementation="sallyport-wg", port=51820, key=old.key,
                             addresses=[f"{HUB}/8", f"{HUB6}/32"], arguments=["--workers", "2"])
    stage.hub.set(f"hub={HUB}/32", f"tenant={B}", "addressing=private")
    stage.hub.add(b1.device, b1.allowed, extra=[*b1.extra, f"last_endpoint={known['endpoint']}",
                                                f"timestamp={known['timestamp']}"])
    assert stage.hub.counters()["udp_sent"] == 0, "nobody is called before there is something to say"
    assert ask_udp(stage.gw, HUB, b1.hub_address, timeout=3) == "b1"
    assert stage.hub.peer(b1.device)["endpoint"] == known["endpoint"]
