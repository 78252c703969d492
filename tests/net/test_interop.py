"""Two ends of one tunnel, each by another implementation.

    [a]  wgA 10.9.0.1/24 fd00:9::1/64            wgB 10.9.0.2/24 fd00:9::2/64  [b]
      |                                                                          |
    eth0 192.0.2.1/24 2001:db8::1/64 ------------- eth0 192.0.2.2/24 2001:db8::2/64

Each test runs with the implementation under test on one or both ends, and wireguard-go on the other.
"""
import hashlib
import json
import os
import socket
import threading

import pytest

from lab import SLOW, SUT, Reader, World, bracketed, wait_until

PAIRS = [(SUT, "wireguard-go"), ("wireguard-go", SUT), (SUT, SUT)]
OUTER = {"outer4": ("192.0.2.1", "192.0.2.2"), "outer6": ("2001:db8::1", "2001:db8::2")}
INNER = {"inner4": ("10.9.0.1", "10.9.0.2"), "inner6": ("fd00:9::1", "fd00:9::2")}


class Tunnel:
    def __init__(self, world, left, right):
        self.a, self.b = world.space("a"), world.space("b")
        world.link(self.a, ["192.0.2.1/24", "2001:db8::1/64"], self.b, ["192.0.2.2/24", "2001:db8::2/64"])
        self.left = world.device(self.a, implementation=left, addresses=["10.9.0.1/24", "fd00:9::1/64"])
        self.right = world.device(self.b, implementation=right, addresses=["10.9.0.2/24", "fd00:9::2/64"])

    def peer(self, outer="outer4", psk_left=None, psk_right=None, endpoint="right"):
        """Both know each other afresh; `endpoint` says whose address is known, so who must begin."""
        addresses = OUTER[outer]
        for device, other in ((self.left, self.right), (self.right, self.left)):
            device.set("replace_peers=true")
        self.left.add(self.right, ["10.9.0.2/32", "fd00:9::2/128"], psk=psk_left,
                      endpoint=bracketed(addresses[1], self.right.port) if endpoint in ("right", "both") else None)
        self.right.add(self.left, ["10.9.0.1/32", "fd00:9::1/128"], psk=psk_right,
                       endpoint=bracketed(addresses[0], self.left.port) if endpoint in ("left", "both") else None)


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]}+{pair[1]}")
def tunnel(request):
    with World() as world:
        yield Tunnel(world, *request.param)


@pytest.fixture(scope="module")
def joined(tunnel):
    """A tunnel with a session; the tests that use it leave the session alone."""
    tunnel.peer(endpoint="both")
    assert tunnel.a.ping("10.9.0.2"), tunnel.left.failure() + tunnel.right.failure()
    return tunnel


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("initiator", ["left", "right"])
def test_handshake_and_ping(tunnel, initiator, outer, inner):
    tunnel.peer(outer, endpoint="right" if initiator == "left" else "left")
    source, target = INNER[inner] if initiator == "left" else reversed(INNER[inner])
    space = tunnel.a if initiator == "left" else tunnel.b
    assert space.ping(target, source=source), tunnel.left.failure() + tunnel.right.failure()
    # whoever was spoken to has learned where the other is, and both saw one handshake
    addresses = OUTER[outer]
    assert tunnel.right.peer(tunnel.left)["endpoint"] == bracketed(addresses[0], tunnel.left.port)
    assert tunnel.left.peer(tunnel.right)["endpoint"] == bracketed(addresses[1], tunnel.right.port)
    for device, other in ((tunnel.left, tunnel.right), (tunnel.right, tunnel.left)):
        said = device.peer(other)
        assert int(said["last_handshake_time_sec"]) > 0
        assert int(said["rx_bytes"]) > 0 and int(said["tx_bytes"]) > 0


@pytest.mark.parametrize("initiator", ["left", "right"])
def test_preshared_key(tunnel, initiator):
    psk = os.urandom(32)
    tunnel.peer(psk_left=psk, psk_right=psk, endpoint="right" if initiator == "left" else "left")
    space, target = (tunnel.a, "10.9.0.2") if initiator == "left" else (tunnel.b, "10.9.0.1")
    assert space.ping(target)
    assert tunnel.left.peer(tunnel.right)["preshared_key"] == psk.hex()


@pytest.mark.parametrize("psk_left, psk_right", [(b"\1" * 32, b"\2" * 32), (b"\1" * 32, None), (None, b"\2" * 32)],
                         ids=["different", "only-left", "only-right"])
def test_wrong_preshared_key_yields_no_session(tunnel, psk_left, psk_right):
    tunnel.peer(psk_left=psk_left, psk_right=psk_right)
    assert not tunnel.a.ping("10.9.0.2", timeout=0.5)
    assert int(tunnel.left.peer(tunnel.right).get("last_handshake_time_sec", 0)) == 0


SIZES = [0, 1, 2, 3, 8, 15, 16, 17, 31, 33, 100, 500, 1000, 1279, 1280, 1281, 1372, 1377, 1390, 1391, 1392]


@pytest.mark.parametrize("inner", INNER)
def test_every_size_up_to_the_mtu(joined, inner):
    limit = 1392 if inner == "inner4" else 1372
    wrong = [size for size in SIZES if size <= limit
             and not joined.a.ping(INNER[inner][1], size=size, dont_fragment=True)]
    assert wrong == []


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("size", [1393, 2000, 4000, 9000, 65000])
def test_fragments(joined, inner, size):
    assert joined.a.ping(INNER[inner][1], size=size)
    assert joined.b.ping(INNER[inner][0], size=size)


def test_too_big_with_dont_fragment_is_refused_by_the_interface(joined):
    assert not joined.a.ping("10.9.0.2", size=1393, dont_fragment=True, timeout=0.3)


def transfer(sender, receiver, source, target, size):
    """Moves `size` random bytes over TCP; whether the digests agree."""
    listener = receiver.tcp_listen(target)
    payload = os.urandom(1 << 20) * (size >> 20)

    def take():
        connection, _ = listener.accept()
        connection.settimeout(30 * SLOW)
        digest, total = hashlib.sha256(), 0
        while piece := connection.recv(1 << 18):
            digest.update(piece)
            total += len(piece)
        connection.close()
        return total, digest.hexdigest()

    taker = Reader(take)
    with sender.tcp_connect(source, listener.getsockname()) as s:
        s.settimeout(30 * SLOW)
        s.sendall(payload)
        s.shutdown(socket.SHUT_WR)
        result = taker.result(60)
    listener.close()
    return result == (len(payload), hashlib.sha256(payload).hexdigest())


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("direction", ["left-to-right", "right-to-left"])
def test_a_file_arrives_unharmed(joined, direction, inner):
    ends = ((joined.a, INNER[inner][0]), (joined.b, INNER[inner][1]))
    (sender, source), (receiver, target) = ends if direction == "left-to-right" else reversed(ends)
    assert transfer(sender, receiver, source, target, 24 << 20)


def test_files_both_ways_at_once(joined):
    tasks = [Reader(transfer, joined.a, joined.b, "10.9.0.1", "10.9.0.2", 12 << 20),
             Reader(transfer, joined.b, joined.a, "10.9.0.2", "10.9.0.1", 12 << 20),
             Reader(transfer, joined.a, joined.b, "fd00:9::1", "fd00:9::2", 12 << 20)]
    assert [task.result(90) for task in tasks] == [True] * 3


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_iperf(joined, protocol):
    """Both directions within one run of two seconds; judged by delivery, not by speed."""
    server = joined.b.start("iperf3", "-s", "-1", "-B", "10.9.0.2", "-p", 5201)
    wait_until(lambda: "5201" in joined.b.run("ss", "-Htln").stdout)
    extra = ["-u", "-b", "10M", "-l", 1300] if protocol == "udp" else []
    result = json.loads(joined.a.run("iperf3", "-c", "10.9.0.2", "-p", 5201, "-t", 2, "--bidir", "-J", *extra).stdout)
    server.wait(5 * SLOW)
    ends = result["end"]
    if protocol == "tcp":
        assert ends["sum_received"]["bytes"] > 1 << 20
        assert ends["sum_received_bidir_reverse"]["bytes"] > 1 << 20
    else:
        for name in ("sum", "sum_bidir_reverse"):
            assert ends[name]["packets"] > 500
            assert ends[name]["lost_packets"] <= ends[name]["packets"] * (0.05 if SLOW == 1 else 0.5), ends[name]


def test_many_parallel_flows(joined):
    """200 TCP connections at once, each echoes its own bytes."""
    listener = joined.b.tcp_listen("10.9.0.2")
    listener.listen(256)
    flows, size = 200, 16 << 10

    def serve():
        connections = []
        for _ in range(flows):
            connection, _ = listener.accept()
            connections.append(connection)
        threads = [threading.Thread(target=echo, args=(connection,), daemon=True) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20 * SLOW)

    def echo(connection):
        with connection:
            connection.settimeout(20 * SLOW)
            while piece := connection.recv(65536):
                connection.sendall(piece)

    server = Reader(serve)
    sockets = [joined.a.tcp_connect("10.9.0.1", listener.getsockname()) for _ in range(flows)]
    sent = [os.urandom(size) for _ in sockets]
    for s, payload in zip(sockets, sent):
        s.settimeout(20 * SLOW)
        s.sendall(payload)
        s.shutdown(socket.SHUT_WR)
    heard = []
    for s in sockets:
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        heard.append(answer)
        s.close()
    server.result(30)
    listener.close()
    assert heard == sent


VARIANTS = {
    "sodium": ["--crypto", "sodium"], "no-gso": ["--no-gso"], "no-tso": ["--no-tso"],
    "no-uring": ["--no-uring"], "plainest": ["--crypto", "sodium", "--no-gso", "--no-tso", "--no-uring"],
    "xdp": ["--xdp", "eth0"], "1-worker": ["--workers", "1"], "4-workers": ["--workers", "4"],
}


@pytest.mark.ours
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_engine(world, variant):
    """Each way to do crypto, offloads and threads carries the same bytes; the other end is the engine as it comes."""
    a, b = world.space("a"), world.space("b")
    world.link(a, ["192.0.2.1/24"], b, ["192.0.2.2/24"])
    left = world.device(a, addresses=["10.9.0.1/24", "fd00:9::1/64"], arguments=VARIANTS[variant])
    right = world.device(b, addresses=["10.9.0.2/24", "fd00:9::2/64"])
    left.add(right, ["10.9.0.2/32", "fd00:9::2/128"], endpoint=f"192.0.2.2:{right.port}")
    right.add(left, ["10.9.0.1/32", "fd00:9::1/128"])
    said = left.get("sallyport=1", "only=device")
    assert said["crypto"] == "sodium" or "sodium" not in VARIANTS[variant]
    for offload in ("gso", "tso"):
        assert offload not in said["offloads"] or f"--no-{offload}" not in VARIANTS[variant]
    assert transfer(a, b, "10.9.0.1", "10.9.0.2", 16 << 20) and transfer(b, a, "fd00:9::2", "fd00:9::1", 16 << 20)
    assert a.ping("10.9.0.2", size=9000) and b.ping("fd00:9::1", size=9000)
