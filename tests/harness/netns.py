"""Network namespaces joined by a bridge, which plays the internet.

    bridge namespace:   br0 ---+--------+--------+
                               |        |        |
    host namespaces:         eth0     eth0     eth0      198.51.100.N/24, 2001:db8:51::N/64

A Network owns its namespaces; close() (or leaving `with`) deletes them, which takes their interfaces along.
"""
import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


def run(*command, input=None, check=True, timeout=30):
    """Runs a program; its output as text. Raises with what it said on stderr. In a session of its own, so that Ctrl-C on
    the terminal reaches us only and nothing is cut off half done."""
    done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout, check=False,
                          start_new_session=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def short_name(prefix=""):
    """A name that no other process on this machine uses; fits an interface (15 characters) for prefixes of up to 3."""
    return f"{prefix}{os.getpid():x}x{next(_serial):x}"[:15]


def die_with_parent():
    """For Popen(preexec_fn=): a child that must not outlive us, even if we are killed."""
    _libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)


def interrupt_once():
    """Makes Ctrl-C and SIGTERM raise KeyboardInterrupt, the first time only: what follows is cleaning up, and that must
    not be cut off by impatience. (A mask would not do: it holds for one thread.)"""
    def stop(*_):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


class Namespace:
    """One network namespace, loopback up. `owned` is the list that it enters before it exists, so that whoever is
    interrupted meanwhile still takes it down."""

    def __init__(self, name, owned=None):
        self.name = name
        self.path = f"/run/netns/{name}"
        if owned is not None:
            owned.append(self)
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def __str__(self):
        return self.name

    def command(self, *command):
        """The command that runs `command` in here; it becomes that program, so its pid is the program's."""
        return ["nsenter", f"--net={self.path}", *command]

    def run(self, *command, **options):
        return run(*self.command(*command), **options)

    def ip(self, *arguments):
        return run("ip", "-n", self.name, *arguments)

    def ip_batch(self, lines):
        """Many `ip` commands in one process."""
        return run("ip", "-n", self.name, "-batch", "-", input="".join(line + "\n" for line in lines))

    def popen(self, *command, detached=False, **options):
        """Starts a program that dies with us. Only from the main thread: it is that thread's death that counts."""
        if not detached:
            options["preexec_fn"] = die_with_parent
        return subprocess.Popen(self.command(*command), stdin=subprocess.DEVNULL, start_new_session=True, **options)

    def sysctl(self, key, value):
        self.run("sh", "-c", f'echo "$1" >"/proc/sys/{key.replace(".", "/")}"', "sh", str(value))

    @contextlib.contextmanager
    def inside(self):
        """Moves the calling thread in for the block: sockets made there belong to this namespace for good."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {self.path}")
            yield
        finally:
            _libc.setns(home, CLONE_NEWNET)
            os.close(there)
            os.close(home)

    def socket(self, family, kind, protocol=0):
        with self.inside():
            return socket.socket(family, kind, protocol)

    def close(self):
        run("ip", "netns", "del", self.name, check=False)


class Network:
    """A bridge and the namespaces on it."""

    def __init__(self, prefix="sp"):
        self.prefix = short_name(prefix)
        self.namespaces = []
        self._next_host = 1
        try:
            self._bridge = self.namespace("net")
            self._bridge.ip_batch(["link add br0 type bridge", "link set br0 up"])
        except BaseException:
            self.close()
            raise

    def namespace(self, name):
        """A namespace that is not connected to anything."""
        return Namespace(f"{self.prefix}-{name}", self.namespaces)

    def host(self, name):
        """A namespace on the bridge, with the next free address; .address and .address6 tell which."""
        namespace = self.namespace(name)
        number = self._next_host
        self._next_host += 1
        namespace.address, namespace.address6 = f"198.51.100.{number}", f"2001:db8:51::{number:x}"
        namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", f"v{number}", "netns", self._bridge.name)
        namespace.ip_batch([
            f"addr add {namespace.address}/24 dev eth0",
            f"addr add {namespace.address6}/64 dev eth0 nodad",
            "link set eth0 up",
        ])
        self._bridge.ip_batch([f"link set v{number} master br0", f"link set v{number} up"])
        return namespace

    def close(self):
        for namespace in reversed(self.namespaces):
            namespace.close()
        self.namespaces = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
