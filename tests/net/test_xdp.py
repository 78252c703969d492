"""AF_XDP: data messages from the network card's queues, around the kernel's UDP (--xdp).

    [client]  ends of the test's own (noise.py)                  wg 10.9.0.1/16  [server]  --xdp eth0
      |                                                                            |
    eth0 192.0.2.2/24 2001:db8::2/64 ---------------------------- eth0 192.0.2.1/24 2001:db8::1/64

Whichever way a datagram comes in, the same must come of it. What only the kernel can judge must still come to it.
"""
import json
import os
import signal
import socket
import struct
import time

import pytest

import noise
from lab import SLOW, World, wait_until
from packets import UDP, Sniffer, ip4, ip_udp, udp
from test_interop import transfer

pytestmark = pytest.mark.ours
HOST4, HOST6 = "192.0.2.1", "2001:db8::1"
SINK = 9


class Site:
    """A server that reads its card's queues, and a client's side that can make any frame."""

    def __init__(self, world, workers=1, arguments=("--xdp", "eth0"), link_mtu=1500, **options):
        self.client, self.server = world.space("client"), world.space("server")
        world.link(self.client, ["192.0.2.2/24", "2001:db8::2/64"], self.server, [f"{HOST4}/24", f"{HOST6}/64"],
                   mtu=link_mtu)
        self.device = world.device(self.server, addresses=["10.9.0.1/16"],
                                   arguments=["--log-level", "info", "--workers", workers, *arguments], **options)
        self.sink = self.server.udp("10.9.0.1", SINK)
        self.sink.settimeout(2 * SLOW)
        self.wire = self.client.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.wire.bind(("eth0", 0))
        self.macs = self.mac(self.server) + self.mac(self.client)
        self.count = 0

    @staticmethod
    def mac(space):
        return bytes.fromhex(json.loads(space.ip("-j link show eth0"))[0]["address"].replace(":", ""))

    def end(self, address="192.0.2.2"):
        """A router, connected: it has confirmed its session by a keepalive."""
        self.count += 1
        host = HOST6 if ":" in address else HOST4
        end = noise.Peer(self.client.udp(address), self.device.key.public, (host, self.device.port))
        end.inner = f"10.9.1.{self.count}"
        self.device.add(end.key, [f"{end.inner}/32"])
        before = self.device.counters()["handshakes"]
        end.handshake()
        wait_until(lambda: self.device.counters()["handshakes"] > before)
        return end

    def seal(self, end, text, **options):
        return end.session.seal(ip_udp(end.inner, 4000, "10.9.0.1", SINK, text, **options))

    def heard(self, most=2048):
        try:
            return self.sink.recv(most)
        except TimeoutError:
            return None

    def frame(self, packet, tag=b""):
        """An Ethernet frame, with a VLAN tag or without."""
        self.wire.send(self.macs + tag + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet)

    def outer(self, end, payload, source_port=None, target=HOST4, **options):
        port = source_port or end.socket.getsockname()[1]
        return ip_udp("2001:db8::2" if ":" in target else "192.0.2.2", port, target, self.device.port, payload, **options)

    def grown(self, name, before):
        return self.device.counters()[name] - before[name]

    def ways(self, before):
        """How many datagrams came by each way since: (short, kernel's)."""
        short = self.grown("xdp_received", before)
        return short, self.grown("udp_received", before) - short

    def offloads(self):
        said = self.device.get("sallyport=1", "only=device")
        return set(said["offloads"].split(",")), said["offloads_off"]

    def has_program(self):
        return "xdp" in json.loads(self.server.ip("-j link show eth0"))[0]

    def close(self):
        self.sink.close()
        self.wire.close()


@pytest.fixture(scope="module")
def site():
    with World() as world:
        made = Site(world)
        yield made
        made.close()


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
def test_data_comes_the_short_way_and_handshakes_by_the_kernel(site, address):
    before = site.device.counters()
    end = site.end(address)
    assert site.ways(before) == (1, 1), "an initiation by the kernel, the keepalive that confirms it not"
    before = site.device.counters()
    for n in range(200):
        end.send(site.seal(end, f"{n}".encode()))
        assert site.heard() == f"{n}".encode()
    assert site.ways(before) == (200, 0)
    assert site.grown("udp_reads", before) < 10, "none of them took a call"
    assert site.has_program() and "xdp" in site.offloads()[0]


def test_every_size_arrives_whole(site):
    """On a card of 1,500 bytes all fit into a frame of AF_XDP."""
    end, before = site.end(), site.device.counters()
    sizes = [*range(0, 40), 127, 128, 511, 1000, *range(1300, 1392)]
    for size in sizes:
        end.send(site.seal(end, os.urandom(size)))
        assert len(site.heard()) == size
    end.send(end.session.seal(b""))  # a keepalive
    wait_until(lambda: sum(site.ways(before)) == len(sizes) + 1)
    assert site.ways(before) == (len(sizes) + 1, 0)


def test_what_is_larger_than_a_frame_comes_by_the_kernel(world):
    site = Site(world, link_mtu=3000, mtu=2900)
    end, before = site.end(), site.device.counters()
    # 1,712 bytes inside are 1,786 with all that is around them; one more is padded to 1,728, and a frame holds 1,792
    for size, ways in ((1600, (1, 0)), (1712, (2, 0)), (1713, (2, 1)), (2000, (2, 2)), (2800, (2, 3))):
        end.send(site.seal(end, os.urandom(size - 28)))
        assert len(site.heard(4096)) == size - 28
        assert site.ways(before) == ways, size
    site.close()


def test_what_a_worker_is_too_late_for_is_counted(world):
    site = Site(world)
    before = site.device.counters()
    count, nobodys = 20000, b"\4\0\0\0" + bytes(60)
    with site.client.udp("192.0.2.2") as s:
        site.device.process.send_signal(signal.SIGSTOP)
        for _ in range(count):
            s.sendto(nobodys, (HOST4, site.device.port))
        site.device.process.send_signal(signal.SIGCONT)
    wait_until(lambda: site.grown("drop.xdp_full", before) + site.grown("xdp_received", before) == count)
    assert site.grown("drop.xdp_full", before) > 0 and site.grown("xdp_received", before) > count / 2
    end = site.end()
    end.send(site.seal(end, b"and on it goes"))
    assert site.heard() == b"and on it goes"
    site.close()


def test_a_router_is_followed_and_answered_where_it_speaks_from(site):
    end = site.end()
    with site.client.udp("192.0.2.2") as other:
        other.sendto(site.seal(end, b"moved"), (HOST4, site.device.port))
        assert site.heard() == b"moved"
        with site.server.udp("10.9.0.1") as asks:
            asks.sendto(b"who?", (end.inner, 5))
            other.settimeout(2 * SLOW)
            answer, source = other.recvfrom(2048)
    assert source == (HOST4, site.device.port) and b"who?" in end.session.open(answer)


@pytest.mark.parametrize("outer, inner, comes", [(3, 2, 3), (3, 1, 3), (1, 2, 1), (0, 2, 2)])  # RFC 6040, 4.2
@pytest.mark.parametrize("target", [HOST4, HOST6])
def test_congestion_marks_come_through(site, target, outer, inner, comes):
    end = site.end("2001:db8::2" if ":" in target else "192.0.2.2")
    sniffer = Sniffer(site.server, site.device.name)
    option = {"traffic_class": outer} if ":" in target else {"tos": outer}
    site.frame(site.outer(end, site.seal(end, b"marked", tos=inner), target=target, **option))
    assert site.heard() == b"marked"
    seen = [raw for out, raw in sniffer.read(0.1) if not out]
    sniffer.socket.close()
    assert [raw[1] & 3 for raw in seen] == [comes]


def test_damaged_frames_are_dropped(site):
    """Nobody else looks at the checksums of what comes by AF_XDP."""
    end = site.end()

    def damaged(at, change=1, target=HOST4):
        packet = bytearray(site.outer(end, site.seal(end, b"damaged"), target=target))
        packet[at] ^= change
        return bytes(packet)
    before = site.device.counters()
    frames = [damaged(8), damaged(10), damaged(21), damaged(26), damaged(60), damaged(45, target=HOST6),
              damaged(41, target=HOST6)]
    for frame in frames:
        site.frame(frame)
    wait_until(lambda: site.grown("drop.malformed", before) == len(frames))
    none = bytearray(site.outer(end, site.seal(end, b"none is needed")))
    none[26:28] = bytes(2)
    site.frame(bytes(none))
    assert site.heard() == b"none is needed"
    site.frame(site.outer(end, site.seal(end, b"good")))
    assert site.heard() == b"good"
    assert site.grown("tun_sent", before) == 2
    assert site.grown("drop.bad_tag", before) == 0
    none = bytearray(site.outer(end, site.seal(end, b"IPv6 wants one"), target=HOST6))
    none[46:48] = bytes(2)
    site.frame(bytes(none))
    wait_until(lambda: site.grown("drop.malformed", before) == len(frames) + 1)


def with_options(packet):
    """An IPv4 packet with four bytes of options (NOP)."""
    head = bytearray(packet[:20]) + b"\x01\x01\x01\x01"
    head[0], head[2:4], head[10:12] = 0x46, struct.pack(">H", len(packet) + 4), bytes(2)
    total = sum(struct.unpack(">12H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = struct.pack(">H", ~total & 0xFFFF)
    return bytes(head) + packet[20:]


def fragments(site, end, text):
    whole = udp("192.0.2.2", end.socket.getsockname()[1], HOST4, site.device.port, site.seal(end, text))
    return [ip4("192.0.2.2", HOST4, UDP, whole[:64], ident=7, flags=1), ip4("192.0.2.2", HOST4, UDP, whole[64:], ident=7,
                                                                             offset=64)]


def with_extension(packet):
    """An IPv6 packet with an empty destination options header."""
    return packet[:4] + struct.pack(">H", len(packet) - 40 + 8) + b"\x3c" + packet[7:40] + b"\x11\x00\x01\x04" + bytes(
        4) + packet[40:]


STRANGE = {
    "options": lambda site, end, text: [with_options(site.outer(end, site.seal(end, text)))],
    "fragments": fragments,
    "link-local": lambda site, end, text: [ip_udp("fe80::2", 7, HOST6, site.device.port, site.seal(end, text))],
    "extension": lambda site, end, text: [with_extension(site.outer(end, site.seal(end, text), target=HOST6))],
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_only_the_kernel_understands_goes_to_it(site, kind):
    end, before = site.end(), site.device.counters()
    for frame in STRANGE[kind](site, end, b"by the kernel"):
        site.frame(frame)
    assert site.heard() == b"by the kernel"
    assert site.ways(before) == (0, 1)


def test_another_hosts_datagrams_are_left_alone(world):
    """Its port alone does not make a datagram ours: this host forwards it to whom it is for."""
    site = Site(world)
    beyond = world.space("beyond")
    world.link(site.server, ["198.51.100.1/24", "2001:db8:1::1/64"], beyond, ["198.51.100.2/24", "2001:db8:1::2/64"],
               names=("eth1", "eth0"))
    for key, value in (("net.ipv4.ip_forward", 1), ("net.ipv6.conf.all.forwarding", 1)):
        site.server.sysctl(key, value)
    for space, via4, via6 in ((site.client, HOST4, HOST6), (beyond, "198.51.100.1", "2001:db8:1::1")):
        space.ip(f"route add default via {via4}", f"route add ::/0 via {via6}")
    end, before = site.end(), site.device.counters()
    for target, source in (("198.51.100.2", "192.0.2.2"), ("2001:db8:1::2", "2001:db8::2")):
        with beyond.udp(target, site.device.port) as there:
            there.settimeout(2 * SLOW)
            message = site.seal(end, b"not for you")
            with site.client.udp(source) as s:
                s.sendto(message, (target, site.device.port))
            assert there.recv(2048) == message
    assert site.ways(before) == (0, 0)
    # to another address of this host it may come by either interface
    before = site.device.counters()
    end.send(site.seal(end, b"for you"), ("198.51.100.1", site.device.port))
    assert site.heard() == b"for you" and site.ways(before) == (1, 0)
    site.close()


def test_other_traffic_is_not_touched(site):
    assert site.client.ping(HOST4) and site.client.ping(HOST6)
    with site.server.udp(HOST4) as there, site.client.udp("192.0.2.2") as here:
        there.settimeout(2 * SLOW)
        here.sendto(b"\4\0\0\0" + bytes(60), there.getsockname())
        assert there.recv(2048) == b"\4\0\0\0" + bytes(60)
    assert transfer(site.client, site.server, "192.0.2.2", HOST4, 4 << 20)


def test_data_for_another_worker_finds_it(world):
    """A card deals out its datagrams as it likes; the queue of this one is the first worker's."""
    site = Site(world, workers=4)
    ends = [site.end() for _ in range(16)]
    before = site.device.counters()
    for n in range(30):
        for end in ends:
            end.send(site.seal(end, f"{n}".encode()))
        assert [site.heard() for _ in ends] == [f"{n}".encode()] * len(ends)
    assert site.ways(before) == (30 * len(ends), 0)
    assert 0 < site.grown("handed_over_datagrams", before) < 30 * len(ends)
    site.close()


def test_the_port_is_followed(world):
    site = Site(world)
    end = site.end()
    old = site.device.port
    site.device.set("listen_port=0")
    site.device.port = int(site.device.get()["listen_port"])
    assert site.device.port != old
    end.endpoint = (HOST4, site.device.port)
    before = site.device.counters()
    end.send(site.seal(end, b"to the new port"))
    assert site.heard() == b"to the new port" and site.ways(before) == (1, 0)
    end.send(site.seal(end, b"to the old one"), (HOST4, old))

    def is_bound():
        return bool(site.server.run("ss", "-Hlun", "sport", "=", f":{site.device.port}").stdout)

    site.server.ip(f"link set {site.device.name} down")
    wait_until(lambda: not is_bound())
    end.send(site.seal(end, b"down"))
    assert site.heard() is None and site.ways(before) == (1, 0)
    site.server.ip(f"link set {site.device.name} up")
    wait_until(is_bound)  # the engine hears of it a moment later
    end.handshake()
    end.send(site.seal(end, b"up"))
    assert site.heard() == b"up" and site.ways(before)[0] == 3
    site.close()


def test_nothing_is_left_behind_however_it_ends(world):
    site = Site(world)
    assert site.has_program()
    site.device.process.send_signal(signal.SIGKILL)
    site.device.process.wait()
    wait_until(lambda: not site.has_program())
    again = world.device(site.server, addresses=["10.9.0.1/16"], arguments=["--xdp", "eth0"])
    assert site.has_program()
    again.end()
    assert not site.has_program()
    world.devices.remove(site.device)
    site.close()


def test_an_interface_that_goes_away_costs_nothing_but_the_short_way(world):
    site = Site(world)
    end = site.end()
    site.server.ip("link del eth0")
    wait_until(lambda: site.offloads()[1] == "xdp:refused")
    world.link(site.client, ["192.0.2.2/24"], site.server, [f"{HOST4}/24"])
    before = site.device.counters()
    time.sleep(0.5)
    assert site.grown("rounds", before) < 100, "a worker spins"
    with site.client.udp("192.0.2.2") as s:
        s.sendto(site.seal(end, b"by the kernel"), (HOST4, site.device.port))
    assert site.heard() == b"by the kernel" and site.ways(before) == (0, 1)
    site.close()


BAD = {
    "missing": ("eth7", "there is no interface 'eth7'", "unsupported"),
    "empty": ("eth0,,eth0", "the list is empty", "unsupported"),
    "long": ("a-name-that-is-too-long", "the list is empty, too long", "unsupported"),
    "twice": ("eth0,eth0", "eth0", "unsupported"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_had_is_said_and_does_without(world, what):
    names, words, state = BAD[what]
    site = Site(world, arguments=("--xdp", names))
    log = site.device.log.read_text()
    assert words in log and "all goes the kernel's way" in log, log
    assert site.offloads()[1] == f"xdp:{state}"
    assert not site.has_program(), "all or nothing"
    end, before = site.end(), site.device.counters()
    end.send(site.seal(end, b"anyway"))
    assert site.heard() == b"anyway" and site.ways(before)[0] == 0
    site.close()


def test_another_program_on_the_interface_is_left_alone(world):
    first = Site(world)
    second = world.device(first.server, addresses=["10.10.0.1/16"], arguments=["--xdp", "eth0"])
    assert "another XDP program is on eth0" in second.log.read_text()
    assert "xdp" in first.offloads()[0] and first.has_program()
    first.close()


def test_it_is_off_unless_asked_for(world):
    site = Site(world, arguments=())
    assert site.offloads()[1] == "xdp:switched_off" and not site.has_program()
    site.close()
