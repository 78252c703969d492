"""The hub and the routers of private tenants: 1:1 translation, to the byte; and path MTU.

The topology is drawn in tenancy.py; here with a1, a2, b1 and c1. What the hub calls 10.200.0.2 is 10.100.0.2 to itself.
"""
import errno
import hashlib
import os
import socket
import struct
import time

import pytest

from lab import SLOW, Reader, wait_until
from packets import (ICMP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_RECVERR, TCP, UDP, Packet, Sniffer, checksum, echo, ip4,
                     ip_udp, raw_sender, tcp_syn, udp)
from tenancy import HUB, INET, Answerers, Stage, ask_tcp, ask_udp

pytestmark = pytest.mark.ours
HUB_OF_A1, A1, A2 = "10.200.0.2", "10.100.0.2", "10.100.0.3"


@pytest.fixture(scope="module")
def stage():
    with Stage(wanted=("a1", "a2", "b1", "c1")) as made:
        answerers = Answerers(made)
        yield made
        answerers.close()


@pytest.fixture
def a1(stage):
    return stage.routers["a1"]


def transfer(sender, receiver, source, bind, target, size=8 << 20):
    """A file over TCP; `target` is how the sender calls `bind`. Whether it arrived unharmed."""
    listener = receiver.tcp_listen(bind)
    payload = os.urandom(1 << 20) * (size >> 20)

    def take():
        connection, _ = listener.accept()
        connection.settimeout(30 * SLOW)
        digest = hashlib.sha256()
        while piece := connection.recv(1 << 18):
            digest.update(piece)
        return digest.hexdigest()
    taker = Reader(take)
    with sender.tcp_connect(source, (target, listener.getsockname()[1])) as s:
        s.settimeout(30 * SLOW)
        s.sendall(payload)
        s.shutdown(socket.SHUT_WR)
        heard = taker.result(40)
    listener.close()
    return heard == hashlib.sha256(payload).hexdigest()


def test_tcp_both_ways(stage, a1):
    assert transfer(stage.gw, a1.space, HUB, A1, HUB_OF_A1)
    assert transfer(a1.space, stage.gw, A1, HUB, HUB)


def test_the_router_sees_the_hub_and_the_hub_sees_the_hub_address(stage, a1):
    with stage.gw.udp(HUB) as hub, a1.space.udp(A1) as router:
        hub.sendto(b"down", (HUB_OF_A1, router.getsockname()[1]))
        data, sender = router.recvfrom(100)
        assert (data, sender) == (b"down", hub.getsockname())
        router.sendto(b"up", sender)
        data, sender = hub.recvfrom(100)
        assert (data, sender[0]) == (b"up", HUB_OF_A1)


@pytest.mark.parametrize("size", [0, 1, 55, 56, 57, 1000, 1391, 1392])
def test_echo_both_ways(stage, a1, size):
    assert stage.gw.ping(HUB_OF_A1, size=size, dont_fragment=True)
    assert a1.space.ping(HUB, size=size, dont_fragment=True)


@pytest.mark.parametrize("size", [1393, 3000, 8000, 20000, 65000])
def test_fragments_both_ways(stage, a1, size):
    data = os.urandom(size)
    assert ask_udp(stage.gw, HUB, HUB_OF_A1, data[:65000]) == "a1"
    assert ask_udp(a1.space, A1, HUB, data[:65000]) == "hub"
    assert stage.gw.ping(HUB_OF_A1, size=size)


def icmp(body):
    """With its checksum in place."""
    return body[:2] + struct.pack(">H", checksum(body)) + body[4:]


CHECKSUMS = {
    "udp": lambda s, t: ip4(s, t, UDP, udp(s, 9, t, 9, b"checked")),
    "udp-without-checksum": lambda s, t: ip4(s, t, UDP, struct.pack(">HHHH", 9, 9, 15, 0) + b"checked"),
    "udp-odd-length": lambda s, t: ip4(s, t, UDP, udp(s, 9, t, 9, b"odd")),
    "tcp": lambda s, t: ip4(s, t, TCP, tcp_syn(s, 9, t, 9)),
    "icmp-echo": lambda s, t: ip4(s, t, ICMP, echo()),
    "icmp-timestamp": lambda s, t: ip4(s, t, ICMP, icmp(b"\x0d\0\0\0" + bytes(16))),
    "other-protocol": lambda s, t: ip4(s, t, 253, b"who knows"),
    "gre": lambda s, t: ip4(s, t, 47, bytes(4) + b"\x45"),
    "with-options": lambda s, t: with_options(ip4(s, t, UDP, udp(s, 9, t, 9, b"optional"))),
}


def with_options(packet):
    """The same with four bytes of header options (no-operation)."""
    size = struct.pack(">H", len(packet) + 4)
    head = b"\x46" + packet[1:2] + size + packet[4:10] + b"\0\0" + packet[12:20] + b"\1\1\1\0"
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + packet[20:]


@pytest.mark.parametrize("kind", CHECKSUMS)
def test_every_checksum_is_right_after_translation(stage, a1, kind):
    """Raw packets each way; what comes out differs in the translated address and its checksums, nowhere else."""
    make, router, hub = CHECKSUMS[kind], (a1.space, a1.device.name), (stage.gw, stage.hub.name)
    for source, sender, receiver, sent, wanted in (("router", router, hub, make(A1, HUB), make(HUB_OF_A1, HUB)),
                                                   ("hub", hub, router, make(HUB, HUB_OF_A1), make(HUB, A1))):
        sniffer = Sniffer(*receiver)
        raw_sender(*sender)(sent)
        ident = sent[4:6]
        seen = sniffer.wait(lambda p: p.raw[4:6] == ident and p.version == 4)
        sniffer.close()
        assert seen, f"from {source}"
        assert seen.valid, seen
        assert kind == "udp-without-checksum" or seen.payload == Packet(wanted).payload
        assert (seen.source, seen.target) == (Packet(wanted).source, Packet(wanted).target)
        if kind == "udp-without-checksum":
            assert seen.payload[6:8] == b"\0\0", "none stays none"


def test_udp_checksum_that_becomes_zero_is_written_as_ones(stage, a1):
    """RFC 768: a computed checksum of zero is sent as 0xffff. Found by trying payloads."""
    for number in range(1 << 16):
        body = udp(HUB_OF_A1, 9, HUB, 9, struct.pack(">H", number))
        if body[6:8] == b"\xff\xff":
            break
    sent = ip4(A1, HUB, UDP, udp(A1, 9, HUB, 9, struct.pack(">H", number)))
    sniffer = Sniffer(stage.gw, stage.hub.name)
    raw_sender(a1.space, a1.device.name)(sent)
    seen = sniffer.wait(lambda p: p.protocol == UDP and p.source == HUB_OF_A1 and p.raw[4:6] == sent[4:6])
    sniffer.close()
    assert seen and seen.valid and seen.payload[6:8] != b"\0\0"


def test_port_unreachable_reaches_the_hubs_socket(stage, a1):
    with stage.gw.udp(HUB) as s:
        s.connect((HUB_OF_A1, 4))
        s.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            s.recv(100)


def test_port_unreachable_reaches_the_routers_socket(stage, a1):
    with a1.space.udp(A1) as s:
        s.connect((HUB, 4))
        s.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            s.recv(100)


def test_refused_tcp_connection_is_refused_on_both_sides(stage, a1):
    assert ask_tcp(stage.gw, HUB, HUB_OF_A1, port=4) == errno.ECONNREFUSED
    assert ask_tcp(a1.space, A1, HUB, port=4) == errno.ECONNREFUSED


def test_quoted_packet_of_an_error_is_translated_with_all_checksums(stage, a1):
    sniffer = Sniffer(stage.gw, stage.hub.name)
    question = ip_udp(HUB, 1234, HUB_OF_A1, 4, b"quoted")
    raw_sender(stage.gw, stage.hub.name)(question)
    answer = sniffer.wait(lambda p: p.protocol == ICMP and p.target == HUB)
    sniffer.close()
    assert answer and answer.valid and (answer.icmp_type, answer.icmp_code) == (3, 3)
    assert answer.source == HUB_OF_A1
    quoted = answer.quoted
    assert (quoted.source, quoted.target) == (HUB, HUB_OF_A1)
    assert quoted.valid, "header and UDP checksums of the quoted packet fit its addresses"


def test_the_tunnel_costs_no_hop(stage, a1):
    assert stage.gw.ping(HUB_OF_A1, ttl=1) and a1.space.ping(HUB, ttl=1)


def error_of(s, data):
    """Sends on a connected socket; the errno it gets, the ICMP (type, code) and who said it (IP_RECVERR)."""
    s.send(data)
    with pytest.raises(OSError) as error:
        s.recv(100)
    told, ancillary, _, _ = s.recvmsg(2000, 512, socket.MSG_ERRQUEUE)
    assert told and data.startswith(told), "what the error quotes is what this socket sent"
    extended = ancillary[0][2]  # struct sock_extended_err, then the offender's address
    return error.value.errno, tuple(extended[5:7]), socket.inet_ntoa(extended[20:24])


def test_time_exceeded_on_the_way_out_reaches_the_routers_socket(stage, a1):
    """A traceroute's first hop: the gateway's host, which knows the packet by its hub address only."""
    with a1.space.udp(A1) as s:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        s.connect((INET, 9))
        code, kind, offender = error_of(s, b"two hops away")
        assert (code, kind) == (errno.EHOSTUNREACH, (11, 0))
        assert offender == HUB


def test_port_unreachable_from_the_internet_reaches_the_routers_socket(stage, a1):
    with a1.space.udp(A1) as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        s.connect((INET, 4))
        assert error_of(s, b"anybody?") == (errno.ECONNREFUSED, (3, 3), INET)


def test_path_mtu_on_the_way_out(stage, a1):
    """The way beyond the gateway is narrower than the tunnel: its word reaches the router and changes what it sends."""
    stage.gw.ip("link set eth1 mtu 1300")
    stage.inet.ip("link set eth0 mtu 1300")
    try:
        with a1.space.udp(A1) as s:
            s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            s.connect((INET, Answerers.PORT))
            code, kind, offender = error_of(s, bytes(1390))
            assert (code, kind, offender) == (errno.EMSGSIZE, (3, 4), HUB)
            s.send(bytes(1272))
            assert s.recv(2000) == b"inet " + bytes(1272)
        assert transfer(stage.inet, a1.space, INET, A1, HUB_OF_A1, 2 << 20), "and the way in"
    finally:
        stage.gw.ip("link set eth1 mtu 1500")
        stage.inet.ip("link set eth0 mtu 1500")
        a1.space.ip("route flush cache")


@pytest.mark.parametrize("name, other", [("a1", "10.100.0.3"), ("a1", "10.200.0.3"), ("c1", "10.101.0.3"),
                                         ("c1", "10.200.0.2")])
def test_error_about_somebody_elses_flow_does_not_reach_the_hub(stage, name, other):
    """A router, of a private or a unique tenant, that claims a packet failed which was never for it."""
    router = stage.routers[name]
    before = stage.hub.counters()["drop.bad_source"]
    sniffer = Sniffer(stage.gw, stage.hub.name)
    send = raw_sender(router.space, router.device.name)
    for whose in (other, router.inside):
        body = icmp(b"\x03\x01\0\0\0\0\0\0" + ip_udp(HUB, 9, whose, 9, b"mine?"))
        send(ip4(router.inside, HUB, ICMP, body))
    heard = sniffer.wait(lambda p: p.protocol == ICMP and p.target == HUB)
    assert heard and heard.valid and heard.quoted.target == router.hub_address, "its own passes"
    assert sniffer.wait(lambda p: p.protocol == ICMP and p.target == HUB, 0.05) is None
    assert stage.hub.counters()["drop.bad_source"] == before + 1
    sniffer.close()


def test_fragments_out_of_order_and_each_alone(stage, a1):
    """Stateless: later fragments are translated without having seen the first."""
    send = raw_sender(a1.space, a1.device.name)
    with stage.gw.udp(HUB, 9999) as s:
        whole = udp(A1, 9, HUB, 9999, os.urandom(4000))
        parts = [(offset, whole[offset:offset + 1376], int(offset < 2752)) for offset in (0, 1376, 2752)]
        for offset, part, more in reversed(parts):
            send(ip4(A1, HUB, UDP, part, ident=77, flags=more, offset=offset))
        data, sender = s.recvfrom(65536)
        assert data == whole[8:] and sender == (HUB_OF_A1, 9)


# --- path MTU ---


def test_df_bigger_than_the_mtu_is_answered_by_the_hubs_stack(stage, a1):
    with stage.gw.udp(HUB) as s:
        s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        s.connect((HUB_OF_A1, 9))
        with pytest.raises(OSError) as error:
            s.send(bytes(1393))
        assert error.value.errno == errno.EMSGSIZE


def test_too_big_site_to_site_is_told_by_fragmentation_needed(stage, a1):
    """a1's tunnel takes 1500, the gateway's MTU is 1420: the sender learns it, and its next packets fit."""
    a1.space.ip(f"link set {a1.device.name} mtu 1500")
    try:
        wait_until(lambda: a1.space.ping(A2, timeout=0.5))
        before = stage.hub.counters()["drop.too_big"]
        sniffer = Sniffer(a1.space, a1.device.name)
        with a1.space.udp(A1) as s:
            s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            s.connect((A2, Answerers.PORT))
            s.send(bytes(1460))
            told = sniffer.wait(lambda p: p.protocol == ICMP and p.icmp_type == 3 and p.icmp_code == 4)
            assert told and told.valid and told.source == HUB
            assert struct.unpack_from(">H", told.payload, 6)[0] == 1420
            assert told.quoted.target == A2
            with pytest.raises(OSError) as error:  # the stack knows now
                for _ in range(5):
                    s.send(bytes(1460))
                    time.sleep(0.02)
            assert error.value.errno == errno.EMSGSIZE
            while s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                pass  # what was told more than once
            s.send(bytes(1392))
        sniffer.close()
        assert stage.hub.counters()["drop.too_big"] > before
        # and TCP finds its way by itself
        a1.space.ip("route flush cache")
        assert transfer(a1.space, stage.routers["a2"].space, A1, A2, A2, 2 << 20)
    finally:
        a1.space.ip(f"link set {a1.device.name} mtu 1420")


def test_ttl_is_not_touched(stage, a1):
    sniffer = Sniffer(stage.routers["a2"].space, stage.routers["a2"].device.name)
    raw_sender(a1.space, a1.device.name)(ip_udp(A1, 9, A2, 9, b"ttl", ttl=17))
    seen = sniffer.wait(lambda p: p.protocol == UDP and b"ttl" in p.raw)
    sniffer.close()
    assert seen.ttl in (16, 17)


def test_everything_still_stands(stage, a1):
    assert stage.hub.alive, stage.hub.failure()
    assert ask_udp(stage.gw, HUB, HUB_OF_A1) == "a1" and ask_udp(a1.space, A1, A2) == "a2"
