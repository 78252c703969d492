"""Rubbish at every door: UDP datagrams and requests on the socket.

    [x]  a test's own end, 10.9.0.9        [host]  wg 10.9.0.1/24, the implementation under test
      |                                       |
    eth0 192.0.2.2/24 ------------------- eth0 192.0.2.1/24
"""
import os
import random
import socket
import struct
import time

import pytest

import noise
from lab import SLOW, World, wait_until
from packets import ICMP, echo, ip4


class Scene:
    def __init__(self, world):
        self.x, self.host = world.space("x"), world.space("host")
        world.link(self.x, ["192.0.2.2/24", "192.0.2.3/24"], self.host, ["192.0.2.1/24"])
        self.device = world.device(self.host, addresses=["10.9.0.1/24"])

    def end(self, source="192.0.2.2", address="10.9.0.9", **options):
        peer = noise.Peer(self.x.udp(source), self.device.key.public, ("192.0.2.1", self.device.port), **options)
        self.device.add(peer.key, [f"{address}/32"])
        peer.address = address
        return peer


@pytest.fixture(scope="module")
def scene():
    with World() as world:
        yield Scene(world)


@pytest.fixture
def session(scene):
    """An end with a session; after the test it must still work, whatever was thrown at the port."""
    scene.device.set("replace_peers=true")
    peer = scene.end()
    peer.handshake()
    assert works(peer)
    yield peer
    assert scene.device.alive, scene.device.failure()
    while peer.receive(timeout=0.01):
        pass
    assert works(peer), scene.device.failure()


def works(peer):
    for _ in range(3):  # a full socket buffer is no fault
        peer.send(peer.session.seal(ip4(peer.address, "10.9.0.1", ICMP, echo())))
        packet = peer.receive(noise.DATA, 0.5)
        if packet and peer.session.open(packet):
            return True
    return False


def throw(peer, packets):
    for number, packet in enumerate(packets):
        peer.send(packet)
        if number % 200 == 199:
            time.sleep(0.005)


KINDS = ["initiation", "response", "cookie-reply", "data", "keepalive"]


def samples(peer):
    """One authentic message of each kind, all of which the engine would take."""
    again = noise.Peer(peer.socket, peer.remote_public, peer.endpoint, key=peer.key)
    responder = noise.Peer(peer.socket, peer.remote_public, peer.endpoint)
    initiation = again.initiation()
    response = responder.answer(noise.Peer(peer.socket, responder.key.public, peer.endpoint).initiation())
    data = peer.session.seal(ip4(peer.address, "10.9.0.1", ICMP, echo()))
    return dict(zip(KINDS, (initiation, response, peer.cookie_reply(initiation), data, peer.session.seal(b""))))


def test_random_bytes_of_every_length(scene, session):
    dice = random.Random(1)
    throw(session, (dice.randbytes(length) for length in range(0, 1500)))
    throw(session, (struct.pack("<I", kind) + dice.randbytes(length)
                    for kind in (0, 1, 2, 3, 4, 5, 255, 1 << 8, 1 << 24 | 4)
                    for length in (0, 1, 4, 11, 12, 28, 29, 60, 88, 144, 145, 1000, 1468)))


@pytest.mark.parametrize("kind", KINDS)
def test_truncations_of_an_authentic_message(scene, session, kind):
    message = samples(session)[kind]
    throw(session, (message[:length] for length in range(len(message))))
    throw(session, (message + bytes(extra) for extra in (1, 2, 15, 16, 100)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_flipped_of_an_authentic_message(scene, session, kind):
    message = samples(session)[kind]

    def flipped(bit):
        copy = bytearray(message)
        copy[bit // 8] ^= 1 << bit % 8
        return bytes(copy)
    throw(session, (flipped(bit) for bit in range(len(message) * 8)))


def test_random_mutations(scene, session):
    dice = random.Random(2)
    originals = list(samples(session).values())

    def mutated():
        copy = bytearray(dice.choice(originals))
        for _ in range(dice.randint(1, 8)):
            copy[dice.randrange(len(copy))] = dice.randrange(256)
        if dice.random() < 0.3:
            del copy[dice.randrange(len(copy)):]
        return bytes(copy)
    throw(session, (mutated() for _ in range(4000)))


@pytest.mark.ours
def test_each_kind_of_rubbish_is_counted_for_what_it_is(scene, session):
    def grows(reason, packet):
        before = scene.device.counters()[f"drop.{reason}"]
        session.send(packet)
        wait_until(lambda: scene.device.counters()[f"drop.{reason}"] == before + 1, what=f"drop.{reason} to grow")

    stranger = noise.Peer(session.socket, session.remote_public, session.endpoint)
    initiation = stranger.initiation()
    grows("malformed", b"")
    grows("malformed", initiation[:-1])
    grows("malformed", b"\1\0\0\1" + initiation[4:])
    grows("bad_mac", initiation[:-32] + bytes(32))
    grows("unknown_peer", initiation)
    grows("bad_handshake", stranger.stamped(initiation[:40] + bytes(108 - 40 + 8)))
    grows("unknown_index", struct.pack("<IIQ", 4, session.session.remote ^ 0x155, 0) + bytes(16))
    data = session.session.seal(b"")
    grows("bad_tag", data[:-1] + bytes([data[-1] ^ 1]))
    session.send(data)
    grows("replayed", data)


@pytest.mark.ours
def test_no_answer_to_what_is_not_authentic(scene, session):
    """Nothing may come back: the port must look closed to a stranger."""
    stranger = noise.Peer(scene.x.udp("192.0.2.3"), session.remote_public, session.endpoint)
    initiation = stranger.initiation()
    for packet in (initiation, initiation[:-32] + bytes(32), b"", b"\1" * 148,
                   session.session.seal(b"", counter=1 << 50)[:-1] + b"x"):
        stranger.send(packet)
    assert stranger.receive(timeout=0.3) is None


@pytest.mark.ours
def test_under_load_cookies_shield_and_honest_clients_get_in(scene, session):
    """A flood of initiations with a right mac1 and nothing behind it, as anyone can make who knows the public key."""
    flood = noise.Peer(scene.x.udp("192.0.2.3"), session.remote_public, session.endpoint)
    key = noise.mac1_key(session.remote_public)
    forged = []
    for number in range(20000):
        body = struct.pack("<II", 1, number) + os.urandom(108)
        forged.append(body + noise.mac(key, body) + bytes(16))
    honest = scene.end(address="10.9.0.10")
    before = scene.device.counters()
    for number, packet in enumerate(forged):
        flood.send(packet)
        if number == len(forged) // 2:
            honest.send(honest.initiation())
    # it may be lost in the crowd, as anybody's: a router asks again
    answer = honest.receive()
    for _ in range(2):
        if not answer:
            honest.send(honest.initiation())
            answer = honest.receive()
    assert answer, "an answer to the honest one, of whatever kind"
    after = scene.device.counters()
    assert after["drop.under_load"] + after["cookies_sent"] > before["drop.under_load"] + before["cookies_sent"]
    if answer[0] == noise.COOKIE:
        honest.take_cookie(answer)
        for _ in range(3):
            honest.send(honest.initiation())
            answer = honest.receive(noise.RESPONSE, 1)
            if answer:
                break
    assert answer and answer[0] == noise.RESPONSE and honest.finish(answer)
    honest.send(honest.session.seal(b""))
    assert works(honest)


# --- the socket ---

GOOD_KEY = "1" * 62 + "ab"
BAD_REQUESTS = {
    "empty-line-first": "\n",
    "no-operation": "listen_port=1\n\n",
    "unknown-operation": "put=1\n\n",
    "wrong-version": "get=2\n\n",
    "set-version": "set=0\n\n",
    "no-equals": "set=1\nlisten_port\n\n",
    "unknown-key": "set=1\nlisten_prot=1\n\n",
    "port-not-a-number": "set=1\nlisten_port=http\n\n",
    "port-too-large": "set=1\nlisten_port=65536\n\n",
    "port-negative": "set=1\nlisten_port=-1\n\n",
    "port-empty": "set=1\nlisten_port=\n\n",
    "port-trailing": "set=1\nlisten_port=51820x\n\n",
    "fwmark-too-large": "set=1\nfwmark=4294967296\n\n",
    "private-key-short": "set=1\nprivate_key=abcd\n\n",
    "private-key-not-hex": f"set=1\nprivate_key={'g' * 64}\n\n",
    "private-key-long": f"set=1\nprivate_key={'a' * 66}\n\n",
    "replace-peers-not-true": "set=1\nreplace_peers=yes\n\n",
    "peer-key-short": "set=1\npublic_key=ab\n\n",
    "peer-key-empty": "set=1\npublic_key=\n\n",
    "peer-option-without-peer": "set=1\nallowed_ip=10.0.0.0/8\n\n",
    "device-option-in-peer": f"set=1\npublic_key={GOOD_KEY}\nlisten_port=1\n\n",
    "allowed-ip-length": f"set=1\npublic_key={GOOD_KEY}\nallowed_ip=10.0.0.0/33\n\n",
    "allowed-ip-name": f"set=1\npublic_key={GOOD_KEY}\nallowed_ip=example.com/32\n\n",
    "allowed-ip-no-length": f"set=1\npublic_key={GOOD_KEY}\nallowed_ip=10.0.0.0/\n\n",
    "allowed-ip6-length": f"set=1\npublic_key={GOOD_KEY}\nallowed_ip=fd00::/129\n\n",
    "endpoint-no-port": f"set=1\npublic_key={GOOD_KEY}\nendpoint=192.0.2.1\n\n",
    "endpoint-name": f"set=1\npublic_key={GOOD_KEY}\nendpoint=example.com:1\n\n",
    "endpoint-port": f"set=1\npublic_key={GOOD_KEY}\nendpoint=192.0.2.1:65536\n\n",
    "endpoint6-no-brackets": f"set=1\npublic_key={GOOD_KEY}\nendpoint=2001:db8::1:51820\n\n",
    "keepalive-too-large": f"set=1\npublic_key={GOOD_KEY}\npersistent_keepalive_interval=65536\n\n",
    "preshared-key-short": f"set=1\npublic_key={GOOD_KEY}\npreshared_key=00\n\n",
    "protocol-version": f"set=1\npublic_key={GOOD_KEY}\nprotocol_version=2\n\n",
    "remove-not-true": f"set=1\npublic_key={GOOD_KEY}\nremove=1\n\n",
    "update-only-not-true": f"set=1\npublic_key={GOOD_KEY}\nupdate_only=false\n\n",
    "control-characters": "set=1\n\x01\x02\x7f=\x00\n\n",
    "not-utf8": b"set=1\nlisten_port=\xff\xfe\n\n",
    "tenant-not-a-uuid": "set=1\ntenant=acme\n\n",
    "tenant-zero": "set=1\ntenant=00000000-0000-0000-0000-000000000000\naddressing=private\n\n",
    "tenant-addressing": "set=1\ntenant=0190a000-0000-7000-8000-000000000001\naddressing=shared\n\n",
    "tenant-egress": "set=1\ntenant=0190a000-0000-7000-8000-000000000001\negress=perhaps\n\n",
    "tenant-limit": "set=1\ntenant=0190a000-0000-7000-8000-000000000001\nlimit_bits_per_second=fast\n\n",
    "hub-not-an-address": "set=1\nhub=home\n\n",
    "peer-tenant-unknown": f"set=1\npublic_key={GOOD_KEY}\npeer_tenant=0190a000-0000-7000-8000-00000000dead\n\n",
    "hub-address-families": f"set=1\npublic_key={GOOD_KEY}\nhub_address=10.0.0.9=fd00::1\n\n",
    "hub-address-prefix": f"set=1\npublic_key={GOOD_KEY}\nhub_address=10.0.0.0/8\n\n",
    "timestamp-short": f"set=1\npublic_key={GOOD_KEY}\ntimestamp=00\n\n",
}


def ask(device, request, close=True):
    """Sends raw bytes, perhaps nothing more; everything that comes back until the answer's end or the connection's."""
    with device.connect() as s:
        s.settimeout(2 * SLOW)
        s.sendall(request if isinstance(request, bytes) else request.encode())
        if close:
            s.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while not answer.endswith(b"\n\n"):
                piece = s.recv(65536)
                if not piece:
                    break
                answer += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return answer.decode(errors="replace")


@pytest.mark.ours
@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request_is_refused_and_changes_nothing(scene, session, name):
    before = scene.device.get("sallyport=1", "only=device"), set(scene.device.get()["peers"])
    answer = ask(scene.device, BAD_REQUESTS[name])
    if name != "empty-line-first":
        assert "errno=" in answer and "errno=0\n" not in answer, answer
    after = scene.device.get("sallyport=1", "only=device"), set(scene.device.get()["peers"]) - {GOOD_KEY}
    for said in (before, after):
        said[0].pop("now", None)
    assert after == before
    scene.device.set(f"public_key={GOOD_KEY}", "remove=true")


@pytest.mark.ours
@pytest.mark.parametrize("name", ["unknown-key", "port-too-large", "allowed-ip-length", "peer-key-short",
                                  "tenant-addressing"])
def test_refusal_names_the_line_to_those_who_understand_the_extension(scene, session, name):
    request = BAD_REQUESTS[name].replace("set=1\n", "set=1\nsallyport=1\n")
    answer = ask(scene.device, request)
    wrong = request.strip().splitlines()[-1].split("=")[0]
    assert "error=" in answer and wrong in answer.split("error=")[1].splitlines()[0], answer


@pytest.mark.parametrize("request_bytes", [b"", b"g", b"get=1", b"get=1\n", b"set=1\nprivate_key=",
                                           b"set=1\npublic_key=" + b"ab" * 32 + b"\n"],
                         ids=["nothing", "letter", "no-newline", "no-end", "half-a-line", "half-a-peer"])
def test_client_that_hangs_up_in_the_middle(scene, session, request_bytes):
    ask(scene.device, request_bytes)
    assert "listen_port" in scene.device.get()


@pytest.mark.ours
def test_line_without_end_does_not_eat_memory(scene, session):
    """A line longer than any key could be is refused before it has all been read."""
    with scene.device.connect() as s:
        s.settimeout(2 * SLOW)
        try:
            for _ in range(200):
                s.sendall(b"x" * 65536)
        except OSError:
            pass
    assert resident(scene.device) < 200
    assert "listen_port" in scene.device.get()


def resident(device):
    for line in open(f"/proc/{device.process.pid}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


@pytest.mark.ours
def test_client_that_never_reads_its_answers_blocks_nobody(scene, session):
    lazy = scene.device.connect()
    lazy.setblocking(False)
    try:
        for _ in range(20000):
            lazy.send(b"get=1\n\n")
    except BlockingIOError:
        pass
    began = time.monotonic()
    assert "listen_port" in scene.device.get()
    assert time.monotonic() - began < 2 * SLOW
    assert works(session)
    assert resident(scene.device) < 400
    lazy.close()


@pytest.mark.ours
def test_many_silent_clients(scene, session):
    silent = []
    for _ in range(60):
        try:
            silent.append(scene.device.connect())
        except OSError:
            break  # a limit is fine, if it is on the silent ones
    for s in silent[:-20]:
        s.close()
    wait_until(lambda: "listen_port" in scene.device.get())
    for s in silent[-20:]:
        s.close()


@pytest.mark.ours
def test_random_requests(scene, session):
    dice = random.Random(3)
    texts = [request for request in BAD_REQUESTS.values() if isinstance(request, str)]
    words = [line for text in texts for line in text.split("\n") if line]
    for _ in range(150):
        lines = [dice.choice(["set=1", "get=1"])] + dice.choices(words, k=dice.randint(0, 6))
        text = ("\n".join(lines) + "\n\n").encode()
        if dice.random() < 0.5:
            at = dice.randrange(len(text))
            text = text[:at] + dice.randbytes(dice.randint(1, 4)) + text[at + 1:]
        ask(scene.device, text)
    assert scene.device.alive
    # some of it was right: put back what the session needs
    scene.device.set(f"listen_port={session.endpoint[1]}", f"private_key={scene.device.key.private.hex()}", "fwmark=0",
                     "replace_hub=true", f"public_key={GOOD_KEY}", "remove=true")
