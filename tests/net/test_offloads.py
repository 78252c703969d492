"""Every offload against the plain way: the same packets in, the same packets out, whatever is switched on at either end.

    [a]  wg 10.9.0.1/24                    wg 10.9.0.2/24  [b]  eth1 10.9.3.1/24 --- eth0 10.9.3.2/24  [c]
      |                                                     |    cuts up what is large
    eth0 192.0.2.1/24 ------------------- eth0 192.0.2.2/24-'

Packets are put on a's interface by hand: plain ones, and large ones such as the host's own TCP makes (with a virtio
header that asks for segments and checksums). b's host forwards what comes out of its tunnel; eth1 takes nothing large, so
that c sees single packets whatever b's engine put together. What c must see is computed here, by code that has nothing in
common with the engine's.
"""
import ctypes
import fcntl
import random
import socket
import struct
import subprocess

import pytest

from lab import OURS, SLOW, SUT, World, wait_until
from packets import ICMP, SOL_PACKET, TCP, UDP, Packet, checksum, echo, ip4, ip6, pseudo, udp

PACKET_VNET_HDR, SIOCETHTOOL, ETHTOOL_STXCSUM = 15, 0x8946, 0x17
NEEDS_CSUM, GSO_TCP4, GSO_TCP6, GSO_UDP, GSO_ECN = 1, 1, 4, 5, 0x80
FIN, SYN, PSH, ACK, ECE, CWR = 1, 2, 8, 16, 64, 128
MTU = 1420
PACKETS = 1500


def tcp(source, target, ports, sequence, data, flags=ACK, acknowledged=1, window=501, options=b"", partial=False):
    """`partial`: with the checksum that is yet to be made, as the host leaves it."""
    size = 20 + len(options) + len(data)
    head = struct.pack(">HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, acknowledged, (20 + len(options)) // 4 << 4, flags,
                       window, 0, 0) + options
    covered = pseudo(source, target, TCP, size) + (b"" if partial else head + data)
    total = checksum(covered) ^ (0xFFFF if partial else 0)
    return head[:16] + struct.pack(">H", total) + head[18:] + data


class Flow:
    """A TCP or UDP flow of either family, whose next packets are plain or large."""

    def __init__(self, dice, number):
        self.dice = dice
        self.v6, self.tcp = bool(number & 1), bool(number & 2)
        self.source, self.target = ("fd00:9:1::1", "fd00:9:3::2") if self.v6 else ("10.9.1.1", "10.9.3.2")
        self.ports = (1000 + number, dice.randrange(1, 65536))
        self.sequence, self.ident = dice.randrange(1 << 32), dice.randrange(65536)
        self.tos, self.dont_fragment = dice.choice([0, 0, 1, 2, 3, 0xB8]), dice.random() < 0.5
        self.ttl, self.acknowledged, self.window = 64, 1, 501
        self.options = b"\x01\x01\x08\x0a" + dice.randbytes(8) if dice.random() < 0.5 else b""
        self.size = dice.choice([1, 100, 536, 1000, 1340 - len(self.options)])

    def change(self):
        """Something that may end or break what belongs together."""
        dice = self.dice
        what = dice.randrange(40)
        if what == 0:
            self.tos ^= dice.choice([1, 2, 3, 0x20])
        elif what == 1:
            self.ttl -= 1
        elif what == 2:
            self.sequence += 77  # one was lost
        elif what == 3:
            self.acknowledged += 100
        elif what == 4:
            self.window += 1
        elif what == 5:
            self.ident += 5
        elif what == 6:
            self.options = b"" if self.options else b"\x01\x01\x08\x0a" + dice.randbytes(8)
        elif what == 7:
            self.size = dice.randrange(0, 1300)

    def wrap(self, payload):
        if self.v6:
            return ip6(self.source, self.target, TCP if self.tcp else UDP, payload, traffic_class=self.tos, ttl=self.ttl)
        packet = ip4(self.source, self.target, TCP if self.tcp else UDP, payload, tos=self.tos, ttl=self.ttl,
                     ident=self.ident & 0xFFFF, flags=2 if self.dont_fragment else 0)
        self.ident += 1
        return packet

    def plain(self, data, flags=ACK):
        if not self.tcp:
            return self.wrap(udp(self.source, self.ports[0], self.target, self.ports[1], data))
        packet = self.wrap(tcp(self.source, self.target, self.ports, self.sequence, data, flags, self.acknowledged,
                               self.window, self.options))
        self.sequence += len(data)
        return packet

    def one(self):
        """(what is sent, what must arrive)"""
        self.change()
        flags = ACK | (self.dice.choice([PSH, FIN, CWR, ECE, SYN]) if self.dice.random() < 0.15 else 0)
        size = self.size if self.dice.random() < 0.9 else self.dice.randrange(0, 1300)
        packet = self.plain(self.dice.randbytes(size), flags)
        if self.dice.random() < 0.03:
            packet = packet[:-1] + bytes([packet[-1] ^ 0x40])  # a wrong checksum, which is none of the engine's business
        return bytes(10) + packet, [packet]

    def large(self):
        """The same for a packet of several segments, made as the host makes them."""
        self.change()
        piece = max(self.size, 1)
        data = self.dice.randbytes(piece * self.dice.randrange(2, 12) + self.dice.randrange(0, piece))
        data = data[:60000]
        flags = ACK | (self.dice.choice([PSH, CWR, PSH | CWR]) if self.dice.random() < 0.5 else 0)
        sequence, ident = self.sequence, self.ident
        if self.tcp:
            upper = tcp(self.source, self.target, self.ports, sequence, data, flags, self.acknowledged, self.window,
                        self.options, partial=True)
            kind, field, head = GSO_TCP6 if self.v6 else GSO_TCP4, 16, 20 + len(self.options)
            kind |= GSO_ECN if flags & CWR else 0
        else:
            upper = struct.pack(">HHHH", *self.ports, 8 + len(data),
                                checksum(pseudo(self.source, self.target, UDP, 8 + len(data))) ^ 0xFFFF) + data
            kind, field, head = GSO_UDP, 6, 8
        start = 40 if self.v6 else 20
        packet = self.wrap(upper)
        hint = struct.pack("<BBHHHH", NEEDS_CSUM, kind, start + head, piece, start, field)
        self.sequence, self.ident = sequence, ident
        pieces = [data[at:at + piece] for at in range(0, len(data), piece)]
        expected = []
        for number, part in enumerate(pieces):
            flag = flags & ~(CWR if number else 0) & ~(PSH if number + 1 < len(pieces) else 0)
            expected.append(self.plain(part, flag))
        return hint + packet, expected


def other(dice):
    """What no offload may touch."""
    kind = dice.randrange(3)
    if kind == 0:
        packet = ip4("10.9.1.1", "10.9.3.2", ICMP, echo(dice.randrange(65536), 1, dice.randbytes(dice.randrange(1000)), True))
    elif kind == 1:
        whole = udp("10.9.1.1", 5, "10.9.3.2", 6, dice.randbytes(1000))
        packet = ip4("10.9.1.1", "10.9.3.2", UDP, whole[504:], offset=504)
    else:
        whole = udp("10.9.1.1", 5, "10.9.3.2", 6, dice.randbytes(1000))
        packet = ip4("10.9.1.1", "10.9.3.2", UDP, whole[:504], flags=1)
    return bytes(10) + packet, [packet]


def normal(raw):
    """A packet without what its way changes: TTL and what it sums up to; the ID where DF makes it meaningless; a checksum
    that the last host left to a card."""
    raw = bytearray(raw)
    if raw[0] >> 4 == 4:
        assert checksum(bytes(raw[:(raw[0] & 15) * 4])) == 0, f"a wrong IP checksum: {raw.hex()}"
        raw = raw[:struct.unpack_from(">H", raw, 2)[0]]
        dont_fragment, fragment = raw[6] & 0x40, struct.unpack_from(">H", raw, 6)[0] & 0x3FFF
        raw[8], raw[10:12] = 0, b"\0\0"
        if dont_fragment:
            raw[4:6] = b"\0\0"
        start, protocol = 20, 0 if fragment else raw[9]
    else:
        raw = raw[:40 + struct.unpack_from(">H", raw, 4)[0]]
        raw[7] = 0
        start, protocol = 40, raw[6]
    if protocol in (TCP, UDP):
        source, target = Packet(bytes(raw)).source, Packet(bytes(raw)).target
        field = start + (16 if protocol == TCP else 6)
        upper = bytes(raw[start:])
        open_sum = checksum(pseudo(source, target, protocol, len(upper))) ^ 0xFFFF
        if struct.unpack_from(">H", raw, field)[0] == open_sum:
            cleared = upper[:field - start] + b"\0\0" + upper[field - start + 2:]
            raw[field:field + 2] = struct.pack(">H", checksum(pseudo(source, target, protocol, len(upper)) + cleared)
                                               or (0xFFFF if protocol == UDP else 0))
    return bytes(raw)


def flow_of(raw):
    """What keeps its order; fragments and ICMP are of no flow."""
    protocol = raw[9] if raw[0] >> 4 == 4 else raw[6]
    fragment = raw[0] >> 4 == 4 and struct.unpack_from(">H", raw, 6)[0] & 0x3FFF
    if protocol in (TCP, UDP) and not fragment:
        start = 20 if raw[0] >> 4 == 4 else 40
        return raw[0] >> 4, protocol, struct.unpack_from(">HH", raw, start)
    return None


def by_flow(packets):
    flows = {}
    for packet in packets:
        flows.setdefault(flow_of(packet), []).append(normal(packet))
    flows.get(None, []).sort()
    return flows


def joins_loosely(implementation):
    """wireguard-go since 2023 puts packets together whose windows differ, and lets some overtake others: what it lets out
    is not what came in."""
    if implementation != "wireguard-go":
        return False
    said = subprocess.run(["wireguard-go", "--version"], capture_output=True, text=True, check=False)
    return "v0.0.2022" not in said.stdout + said.stderr


def no_checksums(space, interface):
    """A card that makes no checksums, and so can cut up nothing either: the kernel does both before it."""
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
    with space.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCETHTOOL, request)


class Line:
    def __init__(self, world, left, right):
        """`left`, `right`: (implementation, switches)"""
        self.a, self.b, self.c = world.space("a"), world.space("b"), world.space("c")
        world.link(self.a, ["192.0.2.1/24"], self.b, ["192.0.2.2/24"])
        world.link(self.b, ["10.9.3.1/24", "fd00:9:3::1/64"], self.c, ["10.9.3.2/24", "fd00:9:3::2/64"],
                   names=("eth1", "eth0"))
        for key, value in (("net.ipv4.ip_forward", 1), ("net.ipv6.conf.all.forwarding", 1),
                           ("net.ipv4.conf.all.rp_filter", 0), ("net.ipv4.conf.default.rp_filter", 0)):
            self.b.sysctl(key, value)
        no_checksums(self.b, "eth1")
        self.left, self.right = (
            world.device(space, implementation=end[0], addresses=[f"10.9.0.{n}/24"],
                         arguments=end[1] if end[0] == "sallyport-wg" else ())
            for n, space, end in ((1, self.a, left), (2, self.b, right)))
        self.left.add(self.right, ["10.9.0.2/32", "10.9.3.0/24", "fd00:9:3::/64"], endpoint=f"192.0.2.2:{self.right.port}")
        self.right.add(self.left, ["10.9.0.1/32", "10.9.1.0/24", "fd00:9:1::/64"])
        for space, device in ((self.a, self.left), (self.b, self.right)):
            space.ip(f"link set {device.name} txqueuelen 5000")
        self.b.ip(f"route add 10.9.1.0/24 dev {self.right.name}", f"route add fd00:9:1::/64 dev {self.right.name}")
        assert self.a.ping("10.9.0.2") and self.b.ping("10.9.3.2") and self.b.ping("fd00:9:3::2")
        self.sender = self.a.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sender.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.sniffer = self.c.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sniffer.bind(("eth0", 3))
        self.sniffer.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE

    def send(self, packet):
        number = 0x86DD if packet[10] >> 4 == 6 else 0x0800
        self.sender.sendto(packet, (self.left.name, number, 0, 0, b""))

    def receive(self, count):
        """So many packets of ours, or what comes until nothing comes any more."""
        self.sniffer.settimeout(1.0 * SLOW)
        heard = []
        while len(heard) < count:
            try:
                raw, (_, number, kind, *_) = self.sniffer.recvfrom(65536)
            except TimeoutError:
                break
            ours = raw[12:15] == b"\x0a\x09\x01" if number == 0x0800 else raw[8:14] == b"\xfd\x00\x00\x09\x00\x01"
            if number in (0x0800, 0x86DD) and kind != socket.PACKET_OUTGOING and ours:
                heard.append(raw)
        return heard

    def close(self):
        self.sender.close()
        self.sniffer.close()


WAYS = {"on": (), "no-gso": ("--no-gso",), "no-tso": ("--no-tso",), "no-uring": ("--no-uring",),
        "off": ("--no-gso", "--no-tso", "--no-uring"), "xdp": ("--xdp", "eth0")}
GO = ("wireguard-go", ())
LINES = {f"{x}+{y}": ((SUT, WAYS[x]), (SUT, WAYS[y])) for x, y in
         (("on", "on"), ("on", "off"), ("off", "on"), ("no-gso", "no-tso"), ("no-tso", "no-gso"), ("off", "off"),
          ("on", "no-uring"), ("on", "xdp"), ("xdp", "off"))}
LINES |= {f"{x}+go": ((SUT, WAYS[x]), GO) for x in WAYS} | {f"go+{x}": (GO, (SUT, WAYS[x])) for x in WAYS}
if not OURS:
    LINES = {"go+go": (GO, GO)}


@pytest.mark.parametrize("line", LINES)
def test_the_same_packets_come_out(line):
    if joins_loosely(LINES[line][1][0]):
        pytest.skip("this wireguard-go joins what differs")
    dice = random.Random(line)
    with World() as world:
        made = Line(world, *LINES[line])
        flows = [Flow(dice, number) for number in range(8)]
        large_allowed = {True: True, False: True}  # by is_tcp: whether this kernel takes such packets from us
        # a wireguard-go with a socket's usual buffer would lose some of more at once
        batch = 15 if "go" in line.split("+") else 60
        segments = sent = arrived = 0
        for _ in range(PACKETS // batch):
            flow, expected = flows[0], []
            for _ in range(batch):
                if dice.random() < 0.25:
                    flow = dice.choice(flows)
                draw = dice.random()
                if draw < 0.05:
                    packet, arrives = other(dice)
                elif draw < 0.15 and large_allowed[flow.tcp]:
                    packet, arrives = flow.large()
                    segments += len(arrives)
                else:
                    packet, arrives = flow.one()
                try:
                    made.send(packet)
                except OSError:
                    assert not flow.tcp, "this kernel has no large UDP, before 6.2; but TCP it takes"
                    large_allowed[False] = False
                    continue
                expected += arrives
                sent += 1
            arrived += len(expected)
            got, wanted = by_flow(made.receive(len(expected))), by_flow(expected)
            for key, packets in wanted.items():
                assert got.get(key) == packets, key
            assert set(got) == set(wanted)
        assert segments > 100
        left, right = made.left, made.right
        made.close()
        if OURS and left.implementation == "sallyport-wg":
            # but those with CWR: their kind is not asked for, so that the kernel cuts them up
            whole = left.counters()["tun_received"] < (sent + arrived) / 2
            assert whole == ("--no-tso" not in LINES[line][0][1])
        if OURS and right.implementation == "sallyport-wg":
            wait_until(lambda: right.counters()["tun_sent"] >= arrived)
            said = right.counters()
            together = said["tun_sent"] - said["tun_writes"]  # of a flow in one write, or many writes in one call
            assert (together > arrived / 10) == (LINES[line][1][1] != WAYS["off"]), said
