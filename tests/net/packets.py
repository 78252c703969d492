"""IP packets by hand: building, taking apart, and the sockets that carry them raw."""
import ipaddress
import os
import socket
import struct
import time

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
# socket options that Python 3.11 does not name
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_RECVERR, IPV6_RECVERR = 10, 2, 11, 25
SOL_PACKET, PACKET_AUXDATA, CHECKSUM_OPEN = 263, 8, 8  # linux/if_packet.h: the last is TP_STATUS_CSUMNOTREADY


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(source, target, protocol, payload, tos=0, ttl=64, ident=None, flags=0, offset=0):
    """flags: 2 is dont-fragment, 1 more-fragments; offset in bytes."""
    ident = int.from_bytes(os.urandom(2), "big") if ident is None else ident
    head = struct.pack(">BBHHHBBH4s4s", 0x45, tos, 20 + len(payload), ident, flags << 13 | offset // 8, ttl, protocol,
                       0, socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ip6(source, target, protocol, payload, traffic_class=0, ttl=64):
    return struct.pack(">IHBB16s16s", 6 << 28 | traffic_class << 20, len(payload), protocol, ttl,
                       ipaddress.IPv6Address(source).packed, ipaddress.IPv6Address(target).packed) + payload


def pseudo(source, target, protocol, length):
    a, b = ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed
    if len(a) == 4:
        return a + b + struct.pack(">BBH", 0, protocol, length)
    return a + b + struct.pack(">IHBB", length, 0, 0, protocol)


def udp(source, source_port, target, target_port, data):
    head = struct.pack(">HHHH", source_port, target_port, 8 + len(data), 0)
    total = checksum(pseudo(source, target, UDP, 8 + len(data)) + head + data) or 0xFFFF
    return head[:6] + struct.pack(">H", total) + data


def ip_udp(source, source_port, target, target_port, data, **options):
    make = ip6 if ":" in source else ip4
    return make(source, target, UDP, udp(source, source_port, target, target_port, data), **options)


def tcp_syn(source, source_port, target, target_port, sequence=1):
    head = struct.pack(">HHIIBBHHH", source_port, target_port, sequence, 0, 5 << 4, 2, 65535, 0, 0)
    total = checksum(pseudo(source, target, TCP, 20) + head)
    return head[:16] + struct.pack(">H", total) + head[18:]


def echo(ident=1, sequence=1, data=b"sallyport", reply=False):
    head = struct.pack(">BBHHH", 0 if reply else 8, 0, 0, ident, sequence)
    return head[:2] + struct.pack(">H", checksum(head + data)) + head[4:] + data


class Packet:
    """What a packet says, taken apart; `valid` tells whether all its checksums hold."""

    def __init__(self, raw):
        self.raw = raw
        self.version = raw[0] >> 4
        if self.version == 4:
            self.size = struct.unpack_from(">H", raw, 2)[0]
            head = (raw[0] & 15) * 4
            self.tos, self.ttl, self.protocol = raw[1], raw[8], raw[9]
            word = struct.unpack_from(">H", raw, 6)[0]
            self.dont_fragment, self.fragment = bool(word & 0x4000), word & 0x3FFF
            self.source, self.target = socket.inet_ntoa(raw[12:16]), socket.inet_ntoa(raw[16:20])
            self.valid = checksum(raw[:head]) == 0
        else:
            self.size = 40 + struct.unpack_from(">H", raw, 4)[0]
            head = 40
            self.tos, self.ttl, self.protocol = struct.unpack_from(">H", raw)[0] >> 4 & 255, raw[7], raw[6]
            self.dont_fragment, self.fragment = True, 0
            self.source, self.target = str(ipaddress.IPv6Address(raw[8:24])), str(ipaddress.IPv6Address(raw[24:40]))
            self.valid = True
        self.payload = raw[head:self.size]
        if not self.fragment and len(self.payload) == self.size - head:
            self.valid = self.valid and self._upper()

    def _upper(self):
        if self.protocol == ICMP:
            self.icmp_type, self.icmp_code = self.payload[:2]
            return checksum(self.payload) == 0
        if self.protocol in (TCP, UDP):
            self.source_port, self.target_port = struct.unpack_from(">HH", self.payload)
            if self.protocol == UDP and self.payload[6:8] == b"\0\0":
                return self.version == 4
        if self.protocol in (TCP, UDP, ICMP6):
            if self.protocol == ICMP6:
                self.icmp_type, self.icmp_code = self.payload[:2]
            return checksum(pseudo(self.source, self.target, self.protocol, len(self.payload)) + self.payload) == 0
        return True

    @property
    def quoted(self):
        """The packet inside an ICMP error."""
        return Packet(self.payload[8:])

    def __repr__(self):
        fault = "" if self.valid else "BAD CHECKSUM "
        return f"{self.source} > {self.target} proto {self.protocol} {self.size} bytes {fault}{self.raw.hex()}"


def raw_sender(space, interface, family=socket.AF_INET):
    """Puts any IP packet on an interface: send(packet). AF_PACKET: no routing, no source check, no local delivery."""
    s = space.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    number = 0x0800 if family == socket.AF_INET else 0x86DD
    s.bind((interface, number))
    return lambda packet: s.sendto(packet, (interface, number, 0, 0, b""))


def completed(raw):
    """A packet whose checksum was left open, with only the sum of the pseudo header in its field: filled in from that, as
    a network card does (Linux' Documentation/networking/checksum-offloads.rst)."""
    start = (raw[0] & 15) * 4 if raw[0] >> 4 == 4 else 40
    field = start + (16 if (raw[9] if raw[0] >> 4 == 4 else raw[6]) == TCP else 6)
    return raw[:field] + struct.pack(">H", checksum(raw[start:]) or 0xFFFF) + raw[field + 2:]


class Sniffer:
    """Every packet that passes an interface, both directions, from the IP header on. Checksums that are open there are
    filled in."""

    def __init__(self, space, interface):
        self.socket = space.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.socket.bind((interface, 3))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)

    def _next(self, end):
        """(is_outgoing, bytes) before that time, or None."""
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                raw, about, _, (_, number, kind, *_) = self.socket.recvmsg(65536, 64)
            except TimeoutError:
                break
            if number in (0x0800, 0x86DD):
                status = struct.unpack_from("=I", about[0][2])[0]
                return kind == socket.PACKET_OUTGOING, completed(raw) if status & CHECKSUM_OPEN else raw
        return None

    def read(self, seconds):
        """What comes within that time: a list of (is_outgoing, bytes)."""
        end = time.monotonic() + seconds
        return list(iter(lambda: self._next(end), None))

    def wait(self, wanted, seconds=2):
        """The first packet for which `wanted(Packet)` is true, or None."""
        end = time.monotonic() + seconds
        while heard := self._next(end):
            packet = Packet(heard[1])
            if wanted(packet):
                return packet
        return None

    def close(self):
        self.socket.close()
