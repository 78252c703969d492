"""A laboratory of network namespaces: what the tests of this folder build their topologies from.

A Space is a namespace; sockets and processes are made inside it without a helper program. A World owns spaces and
processes and takes all of them down again, whatever failed. Interface names are unique on the machine, not only in
their namespace, because the sockets of all userspace WireGuard interfaces share one folder.
"""
import binascii
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time

from nacl.bindings import crypto_scalarmult_base

from harness.gateway import program
from harness.netns import Namespace, die_with_parent, short_name

BUILD = pathlib.Path(os.environ.get("SALLYPORT_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
ENGINE = BUILD / "src" / "engine" / "sallyport-wg"
SOCKETS = pathlib.Path("/var/run/wireguard")
PREFIX = f"sp{os.getpid()}"
# The implementation under test. wireguard-go validates the tests of stock behaviour themselves.
SUT = os.environ.get("SALLYPORT_NET_SUT", "sallyport-wg")
OURS = SUT == "sallyport-wg"
# Sanitizers make everything slower; waits (never measurements) stretch with them.
SLOW = 2 if "asan" in BUILD.name or "tsan" in BUILD.name else 1


def wait_until(ready, seconds=5.0, every=0.01, what=None):
    """Polls until `ready()` is true and returns what it returned; fails the test after `seconds`."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds * SLOW:.0f} s: {what or ready}")
        time.sleep(every)


class Space(Namespace):
    """A network namespace."""

    def __init__(self, world, label):
        super().__init__(f"{PREFIX}-{short_name()}-{label}")
        self.world = world
        with self.inside():
            for name, value in (("net.ipv6.conf.default.accept_dad", 0), ("net.ipv6.conf.all.accept_dad", 0),
                                ("net.ipv6.conf.default.router_solicitations", 0),  # a packet that nobody asked for
                                ("net.ipv4.icmp_ratelimit", 0), ("net.ipv6.icmp.ratelimit", 0),
                                ("net.ipv4.ping_group_range", "0 0")):
                self.sysctl(name, value)

    def close(self):
        # what detached from us in here, wg-quick's daemons for one, would keep the namespace alive
        told = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        for pid in told.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        super().close()

    def sysctl(self, key, value):
        with self.inside():
            pathlib.Path("/proc/sys", *key.split(".")).write_text(str(value), encoding="ascii")

    def ip(self, *lines):
        """Lines of ip(8), all in one process."""
        if len(lines) == 1 or " " not in lines[0]:  # or the words of one line, as the base class has it
            return super().ip(*" ".join(lines).split())
        return self.ip_batch(lines)

    def run(self, *command, check=True, timeout=30, **options):
        with self.inside():
            result = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                                    stdin=None if "input" in options else subprocess.DEVNULL,
                                    timeout=timeout * SLOW, check=False, **options)
        if check and result.returncode != 0:
            words = " ".join(map(str, command))
            raise AssertionError(f"{self.name}: {words}: {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def start(self, *command, **options):
        """A process that the world ends."""
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        with self.inside():
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                       preexec_fn=die_with_parent, **options)
        self.world.processes.append(process)
        return process

    def socket(self, family, kind, protocol=0):
        with self.inside():
            return socket.socket(family, kind, protocol)

    def udp(self, address, port=0):
        s = self.socket(family_of(address), socket.SOCK_DGRAM)
        s.settimeout(2 * SLOW)
        s.bind((address, port))
        return s

    def tcp_listen(self, address, port=0):
        s = self.socket(family_of(address), socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.settimeout(5 * SLOW)
        s.bind((address, port))
        s.listen(64)
        return s

    def tcp_connect(self, source, target, timeout=5):
        s = self.socket(family_of(target[0]), socket.SOCK_STREAM)
        s.settimeout(timeout * SLOW)
        s.bind((source, 0))
        s.connect(target)
        return s

    def ping(self, target, size=56, count=1, source=None, timeout=3, dont_fragment=False, ttl=None):
        """The stock ping; True if every echo was answered with the same bytes."""
        options = ["-c", count, "-i", "0.02", "-W", timeout * SLOW, "-s", size, "-q"]
        options += ["-I", source] if source else []
        options += ["-M", "do" if dont_fragment else "dont"]
        options += ["-t", ttl] if ttl else []
        result = self.run("ping", *options, target, check=False, timeout=timeout * count + 10)
        return f" {count} received" in result.stdout and "corrupted" not in result.stdout


class Flow:
    """A steady ping that runs aside; lost() ends it and says how many echoes never came back."""

    def __init__(self, space, target, interval=0.002, size=56):
        self.process = space.start("ping", "-i", interval, "-q", "-s", size, target, stdout=subprocess.PIPE, text=True)

    def lost(self):
        self.process.send_signal(signal.SIGINT)
        self.said = self.process.communicate()[0]
        numbers = [int(self.said.split(word)[0].split()[-1]) for word in (" packets transmitted", " received")]
        self.sent = numbers[0]
        return max(0, numbers[0] - numbers[1] - 1)  # one may have been on its way


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def add_address(address, interface):
    return f"addr add {address} dev {interface}" + (" nodad" if ":" in address else "")


def bracketed(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class World:
    """Everything one topology is made of; a context manager."""

    def __init__(self):
        self.spaces = []
        self.processes = []
        self.devices = []
        self.names = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{PREFIX}-"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def space(self, label):
        self.spaces.append(Space(self, label))
        return self.spaces[-1]

    def interface(self):
        """A name no other interface on this machine has: at most 15 characters."""
        self.names.append(short_name("sw"))
        return self.names[-1]

    def link(self, a, a_addresses, b, b_addresses, names=("eth0", "eth0"), mtu=1500):
        """A cable between two spaces."""
        a.ip(f"link add {names[0]} mtu {mtu} type veth peer name {names[1]} netns {b.name}")
        for space, name, addresses in ((a, names[0], a_addresses), (b, names[1], b_addresses)):
            space.ip(f"link set {name} mtu {mtu} up", *(add_address(address, name) for address in addresses))

    def device(self, space, **options):
        """A running WireGuard interface; see Device."""
        device = Device(self, space, **options)
        self.devices.append(device)
        return device

    def close(self):
        processes = [p for p in self.processes if p.poll() is None]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(3 * SLOW)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for device in self.devices:
            device.end()
        faults = [device.failure() for device in self.devices
                  if device.implementation == "sallyport-wg" and device.process.returncode != 0]
        for space in self.spaces:
            space.close()
        for name in self.names:
            (SOCKETS / f"{name}.sock").unlink(missing_ok=True)
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.folder.rmdir()
        # a crash, a sanitizer's report, a leak: whatever test was running, it is one
        assert not faults, "\n".join(faults)


class Key:
    """A key pair, in the forms that wg and the UAPI want."""

    def __init__(self, private=None):
        raw = bytearray(private or os.urandom(32))
        raw[0] &= 248
        raw[31] = raw[31] & 127 | 64
        self.private = bytes(raw)
        self.public = crypto_scalarmult_base(self.private)

    @property
    def hex(self):
        return self.public.hex()


def base64(raw):
    return binascii.b2a_base64(raw, newline=False).decode()


class Uapi(Exception):
    """The socket's answer to a request that failed."""

    def __init__(self, errno, text):
        super().__init__(f"errno={errno} {text}")
        self.errno = errno
        self.text = text


class Device:
    """One WireGuard interface in a namespace, served by a process in the foreground.

    implementation: "sallyport-wg" or "wireguard-go". Configured through its socket, so that a topology of a dozen
    interfaces stands in a fraction of a second; what stock tools do with it is tested in test_dropin.py.
    """

    def __init__(self, world, space, implementation=SUT, key=None, port=0, addresses=(), mtu=1420, routes=(),
                 arguments=(), environment=None):
        self.world = world
        self.space = space
        self.implementation = implementation
        self.key = key or Key()
        self.name = world.interface()
        self.addresses = list(addresses)
        self.log = world.folder / f"{self.name}.log"
        binary = program(BUILD, "sallyport-wg", environment) if implementation == "sallyport-wg" else "wireguard-go"
        with open(self.log, "wb") as log:
            self.process = space.start(binary, "-f", *arguments, self.name, stdout=log, stderr=log,
                                       env={**os.environ, "LOG_LEVEL": "error", **(environment or {})})
        self.path = SOCKETS / f"{self.name}.sock"
        wait_until(self._answers, 10, what=f"{binary} to answer on {self.path}")
        self.set(f"private_key={self.key.private.hex()}", f"listen_port={port}")
        lines = [f"link set {self.name} mtu {mtu}"]
        lines += [add_address(address, self.name) for address in addresses]
        lines.append(f"link set {self.name} up")
        lines += [f"route add {route} dev {self.name}" for route in routes]
        space.ip(*lines)
        self.port = int(self.get()["listen_port"])

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.implementation} ended with {self.process.returncode}: {self.log.read_text()}")
        with contextlib.suppress(OSError, Uapi):
            return self.request("get=1")
        return False

    def end(self):
        """Ends the process, by a signal it should obey."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.path.unlink(missing_ok=True)
        return self.process.returncode

    @property
    def alive(self):
        return self.process.poll() is None

    # --- the socket ---

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(20 * SLOW)
        s.connect(str(self.path))
        return s

    def request(self, *lines):
        """One request; its answer as a list of (key, value)."""
        with self.connect() as s:
            s.sendall(("\n".join(lines) + "\n\n").encode())
            answer = b""
            while not answer.endswith(b"\n\n"):
                piece = s.recv(1 << 20)
                if not piece:
                    break
                answer += piece
        pairs = [line.split("=", 1) for line in answer.decode().splitlines() if line]
        if not pairs or pairs[-1][0] != "errno":
            raise Uapi(-1, answer.decode())
        if pairs[-1][1] != "0":
            raise Uapi(int(pairs[-1][1]), answer.decode())
        return [tuple(pair) for pair in pairs[:-1]]

    def set(self, *lines):
        return self.request("set=1", *lines)

    def get(self, *selectors):
        """The device's own keys, and under "peers" a dict by public key in hex (allowed IPs as a list)."""
        device, peers, section = {}, {}, None
        section = device
        for key, value in self.request("get=1", *selectors):
            if key == "public_key":
                section = peers[value] = {"allowed_ip": [], "hub_address": []}
            elif key == "tenant":
                section = device.setdefault("tenants", {})[value] = {}
            elif key.startswith("counter.") or key == "now":
                device[key] = int(value)
            elif key in ("allowed_ip", "hub_address") and section is not device:
                section[key].append(value)
            else:
                section[key] = value
        device["peers"] = peers
        return device

    def peer(self, other):
        """What this device says of the peer with that key or device."""
        public = other.hex if isinstance(other, Key) else other.key.hex
        return self.get()["peers"][public]

    def counters(self):
        """The engine's counters, by the extended get."""
        return {key.removeprefix("counter."): value for key, value in self.get("sallyport=1", "only=counters").items()
                if key.startswith("counter.")}

    def tenant(self, uuid):
        return self.get("sallyport=1", "only=tenants")["tenants"][uuid]

    def add(self, other, allowed, endpoint=None, keepalive=None, psk=None, extra=()):
        """Adds or changes a peer (a Device or a Key)."""
        key = other if isinstance(other, Key) else other.key
        lines = [f"public_key={key.hex}"]
        lines += [f"preshared_key={psk.hex()}"] if psk is not None else []
        lines += [f"endpoint={endpoint}"] if endpoint else []
        lines += [f"persistent_keepalive_interval={keepalive}"] if keepalive is not None else []
        lines += list(extra)
        lines += ["replace_allowed_ips=true", *(f"allowed_ip={prefix}" for prefix in allowed)]
        self.set(*lines)

    def remove(self, other):
        self.set(f"public_key={other.hex if isinstance(other, Key) else other.key.hex}", "remove=true")

    def wg(self, *arguments, **options):
        return self.space.run("wg", *arguments, **options)

    def failure(self):
        """What the process said when it should not have, and what it counted: for asserts."""
        return f"{self.implementation} {self.name}: {self.process.poll()}\n{self.log.read_text()[-4000:]}\n{self.counted()}"

    def counted(self):
        """All that is not zero, of an engine of ours that still answers."""
        if self.implementation != "sallyport-wg" or self.process.poll() is not None:
            return ""
        return ", ".join(f"{name}={value}" for name, value in self.counters().items() if value)


class Reader(threading.Thread):
    """Runs `fn` aside; result() returns what it returned or raises what it raised."""

    def __init__(self, fn, *arguments):
        super().__init__(daemon=True)
        self.fn, self.arguments = fn, arguments
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.fn(*self.arguments)
        except BaseException as error:  # handed to the test's own thread
            self.error = error

    def result(self, timeout=20):
        self.join(timeout * SLOW)
        assert not self.is_alive(), f"{self.fn} still runs"
        if self.error:
            raise self.error
        return self.value
