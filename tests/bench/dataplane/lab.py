"""Where the benchmarks run: namespaces joined by veths, WireGuard processes, swarms; and what /proc tells of them.

Everything has unique names and is taken down by close(), last made first.
"""
import base64
import json
import os
import pathlib
import select
import socket
import statistics
import subprocess
import tempfile
import time

from harness.gateway import memory_mb
from harness.netns import Namespace, die_with_parent, run, short_name

SOCKETS = pathlib.Path("/var/run/wireguard")
PORT = 51820
HUB = "10.0.0.1"
HUB6_OUTER = "2001:db8::1"
SOURCES6 = "2001:db8:5600::/40"  # 2^24 sites
ROUTERS = "10.16.0.0/12"
CPUS = sorted(os.sched_getaffinity(0))
# One core for the gateway, the others for whoever talks to it; on a machine with a single core both share it.
GATEWAY_CPU, OTHER_CPUS = CPUS[:1], CPUS[1:] or CPUS


def median(values):
    return statistics.median(values)


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def thread_times_s(pid):
    """(on a CPU, ready but waiting for one) of a process's threads, in seconds; finer than the ticks of
    /proc/<pid>/stat."""
    used = waited = 0
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        fields = path.read_text(encoding="ascii").split()
        used, waited = used + int(fields[0]), waited + int(fields[1])
    return used / 1e9, waited / 1e9


def system_calls(pid):
    """(read, written): calls of read(2), write(2) and their kin, which a userspace WireGuard uses on its TUN only."""
    fields = dict(line.split(": ") for line in pathlib.Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines())
    return int(fields["syscr"]), int(fields["syscw"])


class Link:
    """Counters of an interface in a namespace."""

    def __init__(self, namespace, name):
        self.namespace, self.name = namespace, name

    def read(self):
        """(received bytes, received packets, sent bytes, sent packets); what the kernel has not split counts as one."""
        with self.namespace.inside():
            text = pathlib.Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
        for line in text.splitlines():
            name, _, fields = line.partition(":")
            if name.strip() == self.name:
                fields = fields.split()
                return int(fields[0]), int(fields[1]), int(fields[8]), int(fields[9])
        raise RuntimeError(f"{self.namespace}: no interface {self.name}")


def udp_counters(namespace):
    """The kernel's UDP counters of a namespace, by their names in /proc/net/snmp."""
    with namespace.inside():
        lines = pathlib.Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Udp:"))
    return dict(zip(names, map(int, values)))


class Endpoint:
    """A WireGuard interface: a process of `command`, with these arguments besides, in a namespace."""

    def __init__(self, lab, namespace, command, cpus=None, arguments=()):
        self.namespace, self.name = namespace, short_name("spb")
        self.socket = SOCKETS / f"{self.name}.sock"
        self.command, self.cpus, self.arguments = command, cpus, arguments
        self.process = None
        self.log = tempfile.TemporaryFile()
        lab.closing(self.close)

    def start(self):
        command = [self.command, "-f", *self.arguments, self.name]
        if self.cpus:
            command = ["taskset", "-c", ",".join(map(str, self.cpus)), *command]
        self.process = self.namespace.popen(*command, stdout=self.log, stderr=self.log)
        until = time.monotonic() + 10
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)} does not start: {self.said()}")
            time.sleep(0.01)
        return self

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip()

    def up(self, addresses, routes, mtu=1420):
        self.namespace.ip_batch(
            [f"addr add {address} dev {self.name}" for address in addresses]
            + [f"link set {self.name} mtu {mtu} up"]
            + [f"route replace {route} dev {self.name}" for route in routes])
        return self

    @property
    def pid(self):
        return self.process.pid

    def cpu_s(self):
        return thread_times_s(self.pid)[0]

    def waited_s(self):
        return thread_times_s(self.pid)[1]

    def rss(self):
        return memory_mb(self.pid) * 1e6

    def set(self, *lines):
        """A `set` over the UAPI."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(60)
            s.connect(str(self.socket))
            s.sendall(("set=1\n" + "".join(line + "\n" for line in lines) + "\n").encode())
            answer = b""
            while not answer.endswith(b"\n\n"):
                part = s.recv(4096)
                if not part:
                    break
                answer += part
        if b"errno=0\n" not in answer:
            raise RuntimeError(f"{self.name}: set refused: {answer.decode()}")

    def end(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def close(self):
        self.end()
        self.log.close()


class Swarm:
    """A swarm process in a namespace; do() is one command and its answer."""

    def __init__(self, lab, namespace, peers, sources="198.18.0.0/16", share=1, sockets=16, cpus=None):
        command = [str(lab.swarm_path), "--peers", str(peers), "--sources", sources, "--share", str(share),
                   "--sockets", str(sockets)]
        command += ["--server", f"[{HUB6_OUTER}]:{PORT}"] if ":" in sources else []
        if cpus:
            command = ["taskset", "-c", ",".join(map(str, cpus)), *command]
        self.process = subprocess.Popen(namespace.command(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        preexec_fn=die_with_parent)
        lab.closing(self.close)

    def begin(self, do, **arguments):
        self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def finish(self, timeout=180):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"the swarm does not answer within {timeout} s")
        result = json.loads(line)
        if "error" in result:
            raise RuntimeError(f"swarm: {result['do'] if 'do' in result else ''}: {result['error']}")
        return result

    def do(self, do, timeout=180, **arguments):
        self.begin(do, **arguments)
        return self.finish(timeout)

    def close(self):
        if self.process:
            self.process.stdin.close()
            try:
                self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process = None


class Lab:
    """Owns everything that one part of the benchmarks makes.

        with Lab(bench) as lab:
            hub, far = lab.pair()
    """

    def __init__(self, bench):
        self.swarm_path = bench.program("tests/bench/swarm")
        self._closers = []
        self._links = 0

    def closing(self, close):
        self._closers.append(close)

    def namespace(self, label):
        namespace = Namespace(f"{short_name('spb')}-{label}")
        self.closing(namespace.close)
        for key, value in (("net.ipv4.conf.all.rp_filter", 0), ("net.ipv4.conf.default.rp_filter", 0),
                           ("net.ipv6.conf.default.disable_ipv6", 1)):
            namespace.sysctl(key, value)
        return namespace

    def join(self, a, b):
        """A veth between two namespaces. Its name, the same in both, and their addresses."""
        self._links += 1
        name, net = f"e{self._links}", f"192.0.2.{self._links * 4}"
        first, second = (net.rpartition(".")[0] + f".{self._links * 4 + n}" for n in (1, 2))
        run("ip", "-n", a.name, "link", "add", name, "type", "veth", "peer", "name", name, "netns", b.name)
        for namespace, address in ((a, first), (b, second)):
            namespace.ip_batch([f"addr add {address}/30 dev {name}", f"link set {name} up"])
        return name, first, second

    def crowd(self, command, peers, cpus=None, swarm_cpus=None, split=False, arguments=(), **swarm_options):
        """A gateway and a namespace of routers that can send from all of 198.18.0.0/15 and SOURCES6: (endpoint, swarm).
        The gateway's end of the veth is e0. With `split` the veth does not pass on what the swarm sends in one piece: the gateway's kernel gets it packet by
        packet."""
        hub, far = self.namespace("hub"), self.namespace("far")
        for namespace in (hub, far):
            namespace.sysctl("net.ipv6.conf.default.disable_ipv6", 0)
            namespace.sysctl("net.ipv6.conf.default.accept_dad", 0)
        run("ip", "-n", hub.name, "link", "add", "e0", "type", "veth", "peer", "name", "e0", "netns", far.name)
        hub.ip_batch(["addr add 192.0.2.1/24 dev e0", "link set e0 up"])
        far.ip_batch(["addr add 192.0.2.2/24 dev e0", "link set e0 up", "route add local 198.18.0.0/15 dev lo",
                      "neigh replace 192.0.2.1 dev e0 lladdr " + mac_of(hub, "e0") + " nud permanent"])
        if split:
            far.ip_batch(["link set dev e0 gso_max_segs 1"])
        hub.ip_batch(["route add 198.18.0.0/15 via 192.0.2.2",
                      "neigh replace 192.0.2.2 dev e0 lladdr " + mac_of(far, "e0") + " nud permanent"])
        far.ip_batch(["addr add 2001:db8::2/64 dev e0 nodad", f"route add local {SOURCES6} dev lo",
                      f"neigh replace {HUB6_OUTER} dev e0 lladdr " + mac_of(hub, "e0") + " nud permanent"])
        hub.ip_batch([f"addr add {HUB6_OUTER}/64 dev e0 nodad", f"route add {SOURCES6} via 2001:db8::2",
                      "neigh replace 2001:db8::2 dev e0 lladdr " + mac_of(far, "e0") + " nud permanent"])
        endpoint = Endpoint(self, hub, command, cpus, arguments).start()
        endpoint.far = far
        endpoint.up([f"{HUB}/32"], [ROUTERS])
        return endpoint, Swarm(self, far, peers, cpus=swarm_cpus, **swarm_options)

    def close(self):
        while self._closers:
            close = self._closers.pop()
            try:
                close()
            except OSError as error:
                print(f"  cleaning up: {error}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def mac_of(namespace, name):
    return json.loads(namespace.ip("-j", "link", "show", name))[0]["address"]


def hex_key(key):
    """wg(8)'s base64 as the UAPI's hexadecimal."""
    return base64.b64decode(key).hex()
