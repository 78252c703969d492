"""ICMP errors that routers send out of their tenant: each speaks of its router's own flows, or goes nowhere.

The rule is that of src/engine/path/forward.c, speaks_for_itself(); tests/unit/engine/packet/test_icmp.c holds the engine to it.
"""
import errno
import itertools
import select
import socket
import struct

import pytest

import packets
from scene import A, C, HUB4, HUB6, INTERFACE, OUT4, OUT6, udp

# a1 and a2 of one tenant, a LAN behind a2; b1 of another; c1 of one with egress.
A1, A2, LAN, B1, C1, NOBODY = ({4: four, 6: six} for four, six in (
    ("10.1.0.1", "fd00::1:1"), ("10.1.0.2", "fd00::1:2"), ("192.168.1.9", "fd77:0:1::9"), ("10.2.0.1", "fd00::2:1"),
    ("10.3.0.1", "fd00::3:1"), ("10.9.9.9", "fd00::9:9")))
HUB, OUT = {4: HUB4, 6: HUB6}, {4: OUT4, 6: OUT6}
HEADER = {4: 20, 6: 40}
FAMILIES = pytest.mark.parametrize("v", [4, 6], ids=["IPv4", "IPv6"])

HEARD = (True, 0)
DROPPED = (False, 1)
PASSED = (False, 0)  # by us; the host makes nothing of it

UNREACHABLE, TOO_BIG, REDIRECT, ECHO = {4: 3, 6: 1}, {4: 3, 6: 2}, {4: 5, 6: 137}, {4: 8, 6: 128}
NO_PORT, TOO_BIG_CODE = {4: 3, 6: 4}, {4: 4, 6: 0}
ICMP = {4: packets.ICMP, 6: packets.ICMP6}
# extension headers of IPv6
HOP_BY_HOP, ROUTING, FRAGMENT, AH, OPTIONS, MOBILITY, HIP, SHIM6 = 0, 43, 44, 51, 60, 135, 139, 140
EXPERIMENT = 0x1E  # an option to step over (RFC 4727); long padding is suspect to Linux

idents = itertools.count(1)


def icmp(v, source, target, kind, body, code=0, rest=bytes(4)):
    """The message alone."""
    text = bytes((kind, code, 0, 0)) + rest + body
    head = packets.pseudo(source, target, packets.ICMP6, len(text)) if v == 6 else b""
    return text[:2] + packets.checksum(head + text).to_bytes(2, "big") + text[4:]


def packet(v, source, target, payload, first=None):
    make = packets.ip6 if v == 6 else packets.ip4
    return make(source, target, ICMP[v] if first is None else first, payload)


def about(v, whose, data=b"a flow of the hub's"):
    return packets.ip_udp(HUB[v], 53, whose[v], 5000, data)


def complaint(v, source, whose, target=HUB):
    """Of `source`, that a packet to `whose` did not arrive."""
    return icmp(v, source[v], target[v], UNREACHABLE[v], about(v, whose), NO_PORT[v])


def extension(kind, following, blocks=0):
    """One extension header; `blocks` of 8 bytes longer than the least."""
    if kind == FRAGMENT:
        return bytes((following, 0, 0, 0)) + b"\0\0\0\1"  # of all there is
    if kind == AH:
        return bytes((following, 1 + 2 * blocks)) + bytes(10 + 8 * blocks)
    if kind == ROUTING:
        return bytes((following, blocks, 0, 0)) + bytes(4 + 8 * blocks)  # no segments left
    return bytes((following, blocks, EXPERIMENT, 4 + 8 * blocks)) + bytes(4 + 8 * blocks)


def behind(kinds, payload, blocks=0):
    """(type of the first header, headers and payload)."""
    following = packets.ICMP6
    for kind in reversed(kinds):
        payload, following = extension(kind, following, blocks) + payload, kind
    return following, payload


def with_options(raw, size):
    head = bytearray(raw[:20])
    head[0] = 0x40 | (20 + size) // 4
    head[2:4] = (len(raw) + size).to_bytes(2, "big")
    head[10:12] = bytes(2)
    head += b"\1" * size  # "no operation"
    head[10:12] = packets.checksum(bytes(head)).to_bytes(2, "big")
    return bytes(head) + raw[20:]


def fragments(v, source, target, payload, cut, first=None):
    """Two."""
    first, ident = ICMP[v] if first is None else first, next(idents)
    if v == 4:
        return [packets.ip4(source, target, first, payload[:cut], ident=ident, flags=1),
                packets.ip4(source, target, first, payload[cut:], ident=ident, offset=cut)]
    return [packets.ip6(source, target, FRAGMENT, struct.pack(">BBHI", first, 0, word, ident) + piece)
            for word, piece in ((1, payload[:cut]), (cut, payload[cut:]))]


class Ear:
    """Every ICMP message that reaches the host itself."""

    def __init__(self, scene, gate):
        self.scene, self.gate = scene, gate
        self.sockets = {4: scene.space.socket(socket.AF_INET, socket.SOCK_RAW, packets.ICMP),
                        6: scene.space.socket(socket.AF_INET6, socket.SOCK_RAW, packets.ICMP6)}

    def hears(self, v, message, pieces):
        """(whether the host gets the message when routers send these, how many were dropped as not theirs to say)."""
        before, tenant = self.gate.counters(), self.gate.tenants()[A]
        last = icmp(v, A1[v], HUB[v], ECHO[v], b"the last", rest=struct.pack(">I", next(idents)))
        for piece in (*pieces, packet(v, A1[v], HUB[v], last)):
            self.scene.routers.send(piece)
        heard = []
        while last not in heard:
            assert select.select([self.sockets[v]], [], [], 5)[0]
            raw = self.sockets[v].recv(65536)
            heard.append(raw if v == 6 else raw[(raw[0] & 15) * 4:])
        after, tenant_after = self.gate.counters(), self.gate.tenants()[A]
        dropped = after["drop.bad_source"] - before["drop.bad_source"]
        assert tenant_after["dropped"] - tenant["dropped"] == dropped
        assert tenant_after["rx_packets"] - tenant["rx_packets"] == len(pieces) + 1
        return message in heard, dropped

    def close(self):
        for s in self.sockets.values():
            s.close()


@pytest.fixture(scope="module")
def ear(shared):
    made = Ear(*shared)
    yield made
    made.close()


WHOSE = [("a router of its own", A1, A1, HEARD), ("a router of its LAN", A2, LAN, HEARD), ("a LAN of its router", LAN, A2, HEARD),
         ("a router of its sibling", A1, A2, DROPPED), ("a router of its sibling's LAN", A1, LAN, DROPPED),
         ("a router of another tenant's", A1, B1, DROPPED), ("a LAN of another tenant's router", LAN, B1, DROPPED),
         ("a router of an address that nobody has", A1, NOBODY, DROPPED), ("a router of the hub", A1, HUB, DROPPED),
         ("a router of the world", A1, OUT, DROPPED)]


@FAMILIES
@pytest.mark.parametrize("source, whose, fate", [row[1:] for row in WHOSE], ids=[row[0] for row in WHOSE])
def test_whom_an_error_to_the_hub_may_speak_of(ear, v, source, whose, fate):
    message = complaint(v, source, whose)
    assert ear.hears(v, message, [packet(v, source[v], HUB[v], message)]) == fate


@FAMILIES
@pytest.mark.parametrize("whose, fate", [(C1, "world"), (A1, "nothing"), (OUT, "nothing")])
def test_whom_an_error_to_the_world_may_speak_of(shared, v, whose, fate):
    scene, gate = shared
    before = gate.tenants()[C]["dropped"], gate.counters()["drop.bad_source"]
    message = complaint(v, C1, whose, OUT)
    assert scene.fate(packet(v, C1[v], OUT[v], message)) == fate
    drops = fate == "nothing"
    assert (gate.tenants()[C]["dropped"], gate.counters()["drop.bad_source"]) == (before[0] + drops, before[1] + drops)


@FAMILIES
def test_what_siblings_tell_each_other_is_their_matter(shared, v):
    message = complaint(v, A1, B1, A2)
    assert shared[0].fate(packet(v, A1[v], A2[v], message)) == "routers"


@pytest.mark.parametrize("v, kind", [(4, kind) for kind in (3, 4, 11, 12)] + [(6, kind) for kind in (0, 1, 2, 3, 4, 100, 127)])
def test_each_kind_of_error_is_held_to_it(ear, v, kind):
    for whose, fate in ((A1, HEARD), (B1, DROPPED)):
        message = icmp(v, A1[v], HUB[v], kind, about(v, whose))
        assert ear.hears(v, message, [packet(v, A1[v], HUB[v], message)]) == fate


@FAMILIES
def test_a_redirect_does_not_pass(ear, v):
    body = (socket.inet_pton(socket.AF_INET6, A2[6]) * 2 if v == 6 else b"") + about(v, A1)
    message = icmp(v, A1[v], HUB[v], REDIRECT[v], body)
    assert ear.hears(v, message, [packet(v, A1[v], HUB[v], message)]) == DROPPED


@pytest.mark.parametrize("v, kind", [(4, kind) for kind in (0, 8, 9, 13, 14, 255)] +
                         [(6, kind) for kind in (128, 129, 138, 200, 255)])
@pytest.mark.parametrize("body", [b"", b"x" * 7, b"x" * 100], ids=len)
def test_what_is_no_error_passes_whatever_it_holds(ear, v, kind, body):
    message = icmp(v, A1[v], HUB[v], kind, body)
    assert ear.hears(v, message, [packet(v, A1[v], HUB[v], message)]) == HEARD


@FAMILIES
@pytest.mark.parametrize("less, fate", [(0, HEARD), (1, DROPPED), (4, DROPPED), (19, DROPPED)])
def test_a_quotation_too_short_to_say_it_does_not_pass(ear, v, less, fate):
    message = icmp(v, A1[v], HUB[v], UNREACHABLE[v], about(v, A1)[:HEADER[v] - less])
    assert ear.hears(v, message, [packet(v, A1[v], HUB[v], message)]) == fate


@FAMILIES
@pytest.mark.parametrize("size", [0, 1, 4, 8])
def test_a_message_that_is_cut_does_not_pass(ear, v, size):
    message = complaint(v, A1, A1)[:size]
    assert ear.hears(v, message, [packet(v, A1[v], HUB[v], message)])[1] == 1


@FAMILIES
def test_a_quotation_of_the_other_family_does_not_pass(ear, v):
    message = icmp(v, A1[v], HUB[v], UNREACHABLE[v], about(10 - v, A1))
    assert ear.hears(v, message, [packet(v, A1[v], HUB[v], message)]) == DROPPED


@pytest.mark.parametrize("size", [4, 20, 40])
def test_options_of_ipv4_hide_nothing(ear, size):
    for whose, fate in ((A1, HEARD), (B1, DROPPED)):
        message = complaint(4, A1, whose)
        assert ear.hears(4, message, [with_options(packet(4, A1[4], HUB4, message), size)]) == fate


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("kinds, own", [
    ([HOP_BY_HOP], HEARD), ([OPTIONS], HEARD), ([ROUTING], HEARD), ([FRAGMENT], HEARD),
    ([HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS], HEARD), ([OPTIONS] * 8, HEARD),
    ([AH], PASSED), ([MOBILITY], PASSED), ([HIP], PASSED), ([SHIM6], PASSED), ([OPTIONS, AH, OPTIONS], PASSED),
])
def test_extension_headers_hide_nothing(ear, kinds, blocks, own):
    for whose, fate in ((A1, own), (B1, DROPPED)):
        message = complaint(6, A1, whose)
        first, payload = behind(kinds, message, blocks)
        assert ear.hears(6, message, [packet(6, A1[6], HUB6, payload, first)]) == fate


def test_what_is_no_error_passes_behind_extension_headers(ear):
    message = icmp(6, A1[6], HUB6, ECHO[6], b"x")
    first, payload = behind([OPTIONS] * 8, message)
    assert ear.hears(6, message, [packet(6, A1[6], HUB6, payload, first)]) == HEARD
    first, payload = behind([OPTIONS], udp(A1[6], HUB6)[40:])
    payload = bytes((packets.UDP,)) + payload[1:]
    assert ear.scene.fate(packet(6, A1[6], HUB6, payload, first)) == "hub"


def test_headers_that_nobody_reads_to_their_end_do_not_pass(ear):
    message = complaint(6, A1, A1)
    for first, payload in (behind([OPTIONS] * 9, message),                 # too many
                           behind([OPTIONS], b""),                         # nothing behind it
                           (OPTIONS, extension(OPTIONS, packets.ICMP6)[:3]),
                           (OPTIONS, extension(OPTIONS, packets.UDP, 4)[:8] + b"short"),
                           behind([FRAGMENT, FRAGMENT], message)):
        assert ear.hears(6, message, [packet(6, A1[6], HUB6, payload, first)]) == DROPPED


@FAMILIES
@pytest.mark.parametrize("cut", [8, 48, 64])
def test_an_error_in_fragments_does_not_pass(ear, v, cut):
    """What comes later might say something else; and it comes alone."""
    message = complaint(v, A1, A1)
    assert ear.hears(v, message, fragments(v, A1[v], HUB[v], message, cut)) == DROPPED
    message = icmp(v, A1[v], HUB[v], ECHO[v], b"x" * 100)
    assert ear.hears(v, message, fragments(v, A1[v], HUB[v], message, cut)) == HEARD


def test_an_error_whose_headers_are_in_fragments_does_not_pass(ear):
    message = complaint(6, A1, B1)
    first, payload = behind([OPTIONS], message, 1)
    for cut in (8, 16, 24):
        assert ear.hears(6, message, fragments(6, A1[6], HUB6, payload, cut, first)) == DROPPED


def sent_to(scene, v, whose, data):
    """A socket of the hub's that has just sent to a router, and the packet as the router has it."""
    flow = scene.space.udp(HUB[v])
    flow.connect((whose[v], 7))
    scene.listen(0)
    flow.send(data)
    (where, raw), = scene.listen()
    assert where == "routers" and packets.Packet(raw).target == whose[v]
    return flow, raw


@FAMILIES
def test_a_router_ends_the_hubs_flow_with_itself_and_with_nobody_else(shared, v):
    scene, gate = shared
    flow, raw = sent_to(scene, v, A1, b"is anybody there?")
    with flow:
        for source, sees in ((B1, 0), (A2, 0), (A1, errno.ECONNREFUSED)):
            before = gate.counters()["drop.bad_source"]
            message = icmp(v, source[v], HUB[v], UNREACHABLE[v], raw[:HEADER[v] + 8], NO_PORT[v])
            scene.routers.send(packet(v, source[v], HUB[v], message))
            scene.listen()
            assert gate.counters()["drop.bad_source"] - before == (not sees)
            assert flow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == sees


def path_mtu(scene, v, whose):
    words = scene.space.ip(f"-{v}", "route", "get", whose[v], "oif", INTERFACE).split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else None


@FAMILIES
def test_a_router_narrows_the_hubs_path_to_itself_and_to_nobody_else(shared, v):
    scene = shared[0]
    flow, raw = sent_to(scene, v, A2, bytes(1350))
    rest = struct.pack(">I", 1300)
    with flow:
        for source, mtu in ((B1, None), (A1, None), (A2, 1300)):
            message = icmp(v, source[v], HUB[v], TOO_BIG[v], raw[:HEADER[v] + 8], TOO_BIG_CODE[v], rest)
            scene.routers.send(packet(v, source[v], HUB[v], message))
            scene.listen()
            assert path_mtu(scene, v, A2) == mtu
