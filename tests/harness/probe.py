"""Questions between namespaces: who answers a ping, whose name is behind an address, how many pings are lost meanwhile.

ICMP goes over raw sockets made inside the namespace, so asking many addresses at once costs no process each.
"""
import ipaddress
import os
import selectors
import socket
import struct
import threading
import time

NAME_PORT = 7
SO_RCVBUFFORCE = 33  # asm-generic/socket.h


def _checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class Echo:
    """Echo requests out of a namespace and the replies to them, both families. A random number in them says that they are
    ours, so several may run in one namespace. Each has an identifier of its own: where connections are tracked none waits
    for another, and the kernel has no reason to drop one of two that arrive as the first of their connection."""

    def __init__(self, namespace):
        self._id = int.from_bytes(os.urandom(2), "big")
        with namespace.inside():
            self._v4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            self._v6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self._selector = selectors.DefaultSelector()
        for sock in (self._v4, self._v6):
            sock.setblocking(False)
            # each sees all ICMP of its namespace: nothing is to be lost here while nobody reads
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
            self._selector.register(sock, selectors.EVENT_READ)

    def send(self, address, sequence):
        """False if there is no way to send it at all (no route, refused by our own host)."""
        ours = struct.pack("!HHQ", (self._id + sequence) & 0xFFFF, sequence & 0xFFFF, self._id << 48 | sequence)
        try:
            if ":" in address:
                self._v6.sendto(b"\x80\0\0\0" + ours, (address, 0))
            else:
                check = _checksum(b"\x08\0\0\0" + ours)
                self._v4.sendto(struct.pack("!BBH", 8, 0, check) + ours, (address, 0))
        except OSError:
            return False
        return True

    def receive(self, timeout):
        """The replies that are there, waiting up to `timeout` for the first: [(address, sequence)]."""
        replies = []
        for key, _ in self._selector.select(max(timeout, 0)):
            while True:
                try:
                    packet, sender = key.fileobj.recvfrom(2048)
                except OSError:
                    break
                kind = 129 if key.fileobj is self._v6 else 0
                if key.fileobj is self._v4:
                    packet = packet[(packet[0] & 15) * 4:]
                if len(packet) < 16 or packet[0] != kind:
                    continue
                mark = struct.unpack("!Q", packet[8:16])[0]
                if mark >> 48 == self._id:
                    replies.append((str(ipaddress.ip_address(sender[0])), mark & (1 << 48) - 1))
        return replies

    def close(self):
        self._selector.close()
        self._v4.close()
        self._v6.close()


def ping(namespace, addresses, wait=2.0, every=0.2):
    """The set of those addresses that answer within `wait` seconds; returns as soon as all do."""
    addresses = [str(ipaddress.ip_address(address)) for address in addresses]
    echo, answered, sequence = Echo(namespace), set(), 0
    until, next_send = time.monotonic() + wait, 0.0
    try:
        while time.monotonic() < until and len(answered) < len(set(addresses)):
            if time.monotonic() >= next_send:
                for address in addresses:
                    if address not in answered:
                        echo.send(address, sequence)
                        sequence += 1
                next_send = time.monotonic() + every
            for address, _ in echo.receive(min(next_send, until) - time.monotonic()):
                answered.add(address)
    finally:
        echo.close()
    return answered & set(addresses)


def ping_in_vain(namespace, addresses, control, least=0.0, rounds=3):
    """The set of those addresses that answer after all, asked several times. Each time ends with a ping that must be answered, from
    one place to another that may speak and whose way is at least as slow: `control` is (namespace, address). So what would be
    answered has been by then, on a slow machine too. It takes `least` seconds at least."""
    echo, answered, began, sequence = Echo(namespace), set(), time.monotonic(), 0
    try:
        while rounds > 0 or time.monotonic() - began < least:
            for address in addresses:
                echo.send(address, sequence)
                sequence += 1
            assert ping(control[0], [control[1]], 15.0), f"{control[1]}, which must answer, does not: nothing is proved"
            answered |= {address for address, _ in echo.receive(0)}
            rounds -= 1
    finally:
        echo.close()
    return answered & {str(ipaddress.ip_address(address)) for address in addresses}


def ping_each(questions, wait=2.0):
    """ping() for several namespaces at once: {key: (namespace, addresses)} -> {key: set}."""
    found = {}

    def ask(key, namespace, addresses):
        found[key] = ping(namespace, addresses, wait)

    threads = [threading.Thread(target=ask, args=(key, *question)) for key, question in questions.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Pings:
    """Pings many targets continuously in the background and counts what is lost.

        with Pings([(namespace, address), ...], per_second=20) as pings: ...
        pings.lost, pings.sent, pings.worst_ms

    A ping counts as lost when no reply came within `patience` seconds. mark() tells how many were lost since the last
    mark, once all that were sent before it are decided."""

    def __init__(self, targets, per_second=20, patience=2.0):
        self._echoes = {}
        for namespace, _ in targets:
            if namespace.name not in self._echoes:
                self._echoes[namespace.name] = Echo(namespace)
        self._targets = [(self._echoes[namespace.name], str(ipaddress.ip_address(address)))
                         for namespace, address in targets]
        self._interval, self._patience = 1.0 / per_second, patience
        self._waiting = {}
        self._round_trips = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._lock = threading.Lock()
        self._marked = 0
        self.sent = self.lost = 0
        self.lost_by_address = {}

    def _collect(self, echo, timeout):
        for _, sequence in echo.receive(timeout):
            began = self._waiting.pop(sequence, None)
            if began:
                self._round_trips.append(time.monotonic() - began[0])

    def _expire(self, now):
        for sequence, (began, address) in list(self._waiting.items()):
            if now - began <= self._patience:
                break
            del self._waiting[sequence]
            with self._lock:
                self.lost += 1
                self.lost_by_address[address] = self.lost_by_address.get(address, 0) + 1

    def _run(self):
        next_send = time.monotonic()
        while not self._stop.is_set() or self._waiting:
            now = time.monotonic()
            if now >= next_send and not self._stop.is_set():
                for echo, address in self._targets:
                    self._waiting[self.sent] = (now, address)
                    echo.send(address, self.sent)
                    self.sent += 1
                # never a burst to catch up after a pause of ours
                next_send = max(next_send + self._interval, now)
            for echo in self._echoes.values():
                self._collect(echo, 0)
            self._expire(time.monotonic())
            time.sleep(max(0.001, min(0.005, next_send - time.monotonic())))

    @property
    def worst_ms(self):
        return max(self._round_trips, default=0.0) * 1000

    @property
    def median_ms(self):
        ordered = sorted(self._round_trips)
        return ordered[len(ordered) // 2] * 1000 if ordered else 0.0

    def mark(self):
        upto = self.sent
        while True:
            waiting = next(iter(list(self._waiting)), None)
            if waiting is None or waiting >= upto:
                break
            time.sleep(0.01)
        with self._lock:
            lost, self._marked = self.lost - self._marked, self.lost
        return lost

    def start(self):
        self._thread.start()
        return self

    def close(self):
        self._stop.set()
        if self._thread.ident:
            self._thread.join()
        for echo in self._echoes.values():
            echo.close()

    __enter__ = start

    def __exit__(self, *_):
        self.close()


class Names:
    """Answers every UDP datagram to the name port of a namespace with that namespace's given name; one thread for all."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def serve(self, namespace, name):
        with namespace.inside():
            for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                sock = socket.socket(family, socket.SOCK_DGRAM)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((any_address, NAME_PORT))
                sock.setblocking(False)
                self._selector.register(sock, selectors.EVENT_READ, name.encode())

    def _run(self):
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                try:
                    _, sender = key.fileobj.recvfrom(512)
                    key.fileobj.sendto(key.data, sender)
                except OSError:
                    continue

    def close(self):
        os.write(self._woken, b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake)
        os.close(self._woken)


def ask_name(namespace, address, wait=2.0):
    """The name that answers at an address (see Names), or None."""
    with namespace.inside():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        until = time.monotonic() + wait
        while time.monotonic() < until:
            sock.settimeout(0.3)
            try:
                sock.sendto(b"?", (address, NAME_PORT))
                answer, sender = sock.recvfrom(512)
            except OSError:
                time.sleep(0.01)
                continue
            if ipaddress.ip_address(sender[0]) == ipaddress.ip_address(address):
                return answer.decode()
    return None
