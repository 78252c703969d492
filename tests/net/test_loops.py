"""No datagram of the engine's goes into its own tunnel: it would come back to be sent once more, larger each time.

    [far]  192.0.2.2  192.0.2.3 ---- eth0 192.0.2.1 [gw]  wg 10.9.0.1/24

The routers are ends of the test's own (noise.py). What the host does with a datagram decides: its routes, not what the
engine was told of prefixes.
"""
import time

import pytest

import noise
from lab import Key, World, bracketed, wait_until
from packets import ICMP, echo, ip4

TENANT_A = "0190a000-0000-7000-8000-0000000000aa"
TENANT_B = "0190a000-0000-7000-8000-0000000000bb"

pytestmark = pytest.mark.ours


class Scene:
    def __init__(self, world):
        self.far, self.gw = world.space("far"), world.space("gw")
        world.link(self.far, ["192.0.2.2/32", "192.0.2.3/32", "2001:db8::2/64"], self.gw,
                   ["192.0.2.1/32", "2001:db8::1/64"])
        for space in (self.far, self.gw):
            space.ip("route add 192.0.2.0/24 dev eth0")
        for where in ("all", "eth0"):
            self.gw.sysctl(f"net.ipv4.conf.{where}.rp_filter", 2)
        self.device = world.device(self.gw, addresses=["10.9.0.1/24"])

    def fresh(self, *tenants):
        self.device.set("replace_peers=true", "replace_hub=true", *(["hub=10.9.0.1/32"] if tenants else []))
        for tenant in self.device.get("sallyport=1", "only=tenants").get("tenants", {}):
            self.device.set(f"tenant={tenant}", "remove=true")
        for tenant, egress in tenants:
            self.device.set(f"tenant={tenant}", "addressing=unique", f"egress={egress}")
        return self

    def router(self, source, inside, tenant=None):
        """One that has a session, begun by itself."""
        target = "2001:db8::1" if ":" in source else "192.0.2.1"
        peer = noise.Peer(self.far.udp(source), self.device.key.public, (target, self.device.port))
        peer.inside = inside
        self.device.add(peer.key, [f"{inside}/32"], extra=[f"peer_tenant={tenant}"] if tenant else [])
        peer.handshake()
        self.say(peer)
        assert peer.receive(noise.DATA), "the hub answers"
        return peer

    def say(self, peer, through=None):
        packet = peer.session.seal(ip4(peer.inside, "10.9.0.1", ICMP, echo()))
        (through or peer.socket).sendto(packet, peer.endpoint)

    def looped(self, act, peer, seconds=0.5):
        """Does it, lets the host go on speaking to the peer, and says how many datagrams left and how many were refused."""
        act()
        before = self.device.counters()
        for _ in range(5):
            self.gw.ping(peer.inside, timeout=seconds / 5)
        after = self.device.counters()
        return after["udp_sent"] - before["udp_sent"], after["drop.looped"] - before["drop.looped"]


@pytest.fixture(scope="module")
def scene():
    with World() as world:
        yield Scene(world)


@pytest.fixture
def route(scene):
    """Adds routes into the tunnel, and takes them away."""
    routes = []

    def add(prefix):
        scene.gw.ip(f"route add {prefix} dev {scene.device.name}")
        routes.append(prefix)
    yield add
    for prefix in routes:
        scene.gw.ip(f"route del {prefix} dev {scene.device.name}")


@pytest.mark.parametrize("tenant, egress", [(None, None), (TENANT_A, "true"), (TENANT_A, "false")])
def test_a_lan_that_covers_the_routers_own_endpoint(scene, route, tenant, egress):
    scene.fresh(*([(tenant, egress)] if tenant else []))
    peer = scene.router("192.0.2.2", "10.9.0.9", tenant)
    other = scene.router("192.0.2.3", "10.9.0.8", tenant)

    def cover():
        scene.device.set(f"public_key={peer.key.hex}", "allowed_ip=192.0.2.2/32")
        route("192.0.2.2/32")
    sent, looped = scene.looped(cover, peer)
    assert sent < 20, "nothing goes round"
    assert looped >= 5
    scene.say(other)
    assert other.receive(noise.DATA), "the others do not notice"


def test_an_endpoint_that_was_set_inside(scene):
    scene.fresh()
    scene.router("192.0.2.3", "10.9.0.8")
    peer = noise.Peer(None, None, None)
    peer.inside = "10.9.0.9"
    sent, looped = scene.looped(lambda: scene.device.add(peer.key, ["10.9.0.9/32"], endpoint="10.9.0.9:4000"), peer)
    assert sent < 20 and looped >= 1


@pytest.mark.parametrize("family", [4, 6])
def test_a_plain_peer_that_forges_its_source(scene, family):
    """The network lets it claim its own tunnel address."""
    scene.fresh()
    inside = "10.9.0.9" if family == 4 else "fd00:9::9"
    outside = "192.0.2.2" if family == 4 else "2001:db8::2"
    scene.gw.ip(f"addr replace fd00:9::1/64 dev {scene.device.name} nodad")
    scene.far.ip(f"addr replace {inside} dev lo")
    try:
        peer = scene.router(outside, "10.9.0.9")
        if family == 6:
            scene.device.set(f"public_key={peer.key.hex}", "allowed_ip=fd00:9::9/128")
        mine = bracketed(*peer.socket.getsockname()[:2])
        before = scene.device.counters()
        sent, _ = scene.looped(lambda: scene.say(peer, through=scene.far.udp(inside)), peer)
        assert sent < 20
        assert scene.device.peer(peer.key)["endpoint"] == mine
        assert scene.device.counters()["roams_refused"] > before["roams_refused"]
        scene.say(peer)
        assert peer.receive(noise.DATA), "where it really is"
    finally:
        scene.far.ip(f"addr del {inside} dev lo")


def test_a_lan_over_the_endpoint_of_another_tenants_router(scene, route):
    """It is cut off for as long as the host sends what is for it elsewhere; the other hears nothing of it."""
    scene.fresh((TENANT_A, "false"), (TENANT_B, "true"))
    peer = scene.router("192.0.2.2", "10.9.0.9", TENANT_A)
    other = scene.router("192.0.2.3", "10.9.0.8", TENANT_B)

    def cover():
        scene.device.set(f"public_key={other.key.hex}", "allowed_ip=192.0.2.2/32")
        route("192.0.2.2/32")
    sent, looped = scene.looped(cover, peer)
    assert sent < 20 and looped >= 5
    assert not other.receive(noise.DATA, 0.2)


def test_a_tenants_router_that_moves_into_anothers_lan(scene):
    scene.fresh((TENANT_A, "false"), (TENANT_B, "true"))
    peer = scene.router("192.0.2.2", "10.9.0.9", TENANT_A)
    other = scene.router("192.0.2.3", "10.9.0.8", TENANT_B)
    scene.device.set(f"public_key={other.key.hex}", "allowed_ip=192.0.2.3/32")
    before = scene.device.counters()["roams_refused"]
    scene.say(peer, through=scene.far.udp("192.0.2.3"))
    wait_until(lambda: scene.device.counters()["roams_refused"] > before)
    assert scene.device.peer(peer.key)["endpoint"] == bracketed(*peer.socket.getsockname()[:2])


def test_a_plain_peer_moves_within_a_prefix_of_its_own_that_the_host_does_not_route_inside(scene):
    """A peer's allowed IPs may cover where it is, as long as the host's routes know better: wg-quick's own way."""
    scene.fresh()
    peer = scene.router("192.0.2.2", "10.9.0.9")
    scene.device.set(f"public_key={peer.key.hex}", "allowed_ip=192.0.2.0/24")
    moved = scene.far.udp("192.0.2.3")
    scene.say(peer, through=moved)
    wait_until(lambda: scene.device.peer(peer.key)["endpoint"] == bracketed(*moved.getsockname()))
    assert scene.gw.ping("10.9.0.9", timeout=0.2) is not None
    end = time.monotonic() + 2
    moved.settimeout(2)
    while time.monotonic() < end and moved.recv(2048)[0] != noise.DATA:
        pass


def test_datagrams_of_others_from_the_same_port_pass(scene):
    """A tenant's host may speak to a WireGuard server of the world, whose port is the gateway's too."""
    scene.fresh((TENANT_A, "true"))
    peer = scene.router("192.0.2.2", "10.9.0.9", TENANT_A)
    scene.gw.sysctl("net.ipv4.ip_forward", 1)
    try:
        scene.far.ip("route replace 10.9.0.9/32 via 192.0.2.1")
        server = scene.far.udp("192.0.2.3", scene.device.port)
        before = scene.device.counters()["drop.looped"]
        server.sendto(b"not ours", ("10.9.0.9", 777))
        packet = peer.receive(noise.DATA)
        assert packet and b"not ours" in peer.session.open(packet)
        assert scene.device.counters()["drop.looped"] == before
    finally:
        scene.gw.sysctl("net.ipv4.ip_forward", 0)
