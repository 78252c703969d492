"""A gateway with either backend, its routers and the world behind it: what the scenarios of this folder play on.

                    198.51.100.0/24, 2001:db8:51::/64: the internet (a bridge)
      +---------+---------+---------+-----------+
      |         |         |         |           |
     a1        a2        b1        b2        gateway   wg 10.0.0.1 (hub), ip_forward=1
      |                   |                     |
  192.168.1.1         192.168.3.1             eth1 203.0.113.1/24, 2001:db8:113::1/64
   (LAN acme)          (LAN birch)              |
                                              eth0 203.0.113.2/24, 2001:db8:113::2/64
                                              world, which routes all of ours back

    tenant   addressing   egress   routers
    acme     unique       no       a1, a2
    birch    unique       yes      b1, b2

Routers are stock WireGuard (the kernel's where it has it, else wireguard-go), and each of them routes everything of ours
and the world into its tunnel, whatever its configuration said: nothing on their side keeps them apart.
"""
import contextlib
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from harness import suite
from harness.client import Client
from harness.gateway import Gateway
from harness.netns import Network
from harness.probe import Names, Pings, ping, ping_in_vain
from packets import Sniffer

WORLD, WORLD6 = "203.0.113.2", "2001:db8:113::2"
SO_RCVBUFFORCE = 33  # which Python 3.11 does not name
LANS = {"a1": "192.168.1.0/24", "b1": "192.168.3.0/24"}
TENANTS = {"acme": (False, ("a1", "a2")), "birch": (True, ("b1", "b2"))}


def wait_until(ready, seconds=10.0, what=None, every=0.05):
    """Polls until `ready()` is true and returns what it returned; fails the test after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        assert time.monotonic() < until, f"not within {seconds} s: {what or ready}"
        time.sleep(every)


class Router:
    """A router as the API made it, its namespace, its client."""

    def __init__(self, plane, tenant, made):
        self.tenant, self.id, self.name = tenant, made["id"], made["name"]
        self.address, self.address6, self.public_key = made["address"], made["address6"], made["public_key"]
        self.lan = (made["lans"] or [None])[0]
        self.namespace = plane.network.host(self.name)
        self.client = Client(self.namespace, made["config"])
        if self.lan:
            self.lan_address = self.lan.replace(".0/24", ".1")
            self.namespace.ip("addr", "add", f"{self.lan_address}/32", "dev", "lo")
        self.client.up()
        self.client.allow("0.0.0.0/0", "::/0")
        plane.names.serve(self.namespace, self.name)

    @property
    def addresses(self):
        return [self.address, self.address6]


class Watch:
    """Everything that passes the interfaces of some participants, the routers' being their tunnels'.

        with plane.watch("hub", "b1", "world") as watch: ...; heard = watch.heard("a1")

    A control goes last, the same way: from each of the sources to the hub, in either family, and once it is there, from the hub to
    everybody watched. What was sent before the controls has arrived by then, or has been dropped."""

    def __init__(self, plane, names):
        self.plane = plane
        self.sniffers = {name: Sniffer(plane.where(name), plane.interface_of(name)) for name in names}

    def _say(self, source, target, word):
        for family, address in zip((socket.AF_INET, socket.AF_INET6), self.plane.addresses(target)):
            with self.plane.where(source).socket(family, socket.SOCK_DGRAM) as s:
                s.sendto(word + b"4" * (family == socket.AF_INET) + b"6" * (family == socket.AF_INET6), (address, 9))

    @staticmethod
    def _hear(sniffer, words, what):
        """All up to those words."""
        seen, missing = [], set(words)
        until = time.monotonic() + 20
        while missing:
            assert time.monotonic() < until, f"{what}: {missing} did not arrive, so nothing is proved"
            heard = [raw for _, raw in sniffer.read(0.02)]
            seen += heard
            missing -= {word for word in missing for raw in heard if word in raw}
        return seen

    def heard(self, *sources):
        """{name: packets} of all that came by, but for the controls."""
        own = f"<{time.monotonic_ns()}>".encode()
        arrived = Sniffer(self.plane.hub, self.plane.interface)  # any source's control passes here, but the world's
        gate = Sniffer(self.plane.hub, "eth1")
        try:
            for source in sources:
                word = own + source.encode()
                self._say(source, "hub", word)
                self._hear(gate if source == "world" else arrived, (word + b"4", word + b"6"), source)
            seen = {}
            for name, sniffer in self.sniffers.items():
                last = own + (sources[-1] if name == "hub" else "hub").encode()
                if name != "hub":
                    self._say("hub", name, last)
                seen[name] = [raw for raw in self._hear(sniffer, (last + b"4", last + b"6"), name) if own not in raw]
            return seen
        finally:
            arrived.close()
            gate.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sniffer in self.sniffers.values():
            sniffer.close()


class Plane:
    """Plane(build, "kernel").start(); .populate(); then .routers, .api, .hub, .world, .gateway."""

    def __init__(self, build, backend, settings=None):
        self.backend = backend
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-plane-"))
        self.tenants, self.routers = {}, {}
        self.network = self.gateway = self.names = None
        try:
            self.network = Network("sq")
            self.names = Names()
            self.hub, self.world = self.network.host("gateway"), self.network.namespace("world")
            self._open_to_the_world()
            self.names.serve(self.hub, "hub")
            self.names.serve(self.world, "world")
            wanted = {"backend": {"kind": backend}, "daemon": {"reconcile_seconds": 2, "usage_seconds": 1}}
            self.gateway = Gateway(build, self.folder, self.hub, wanted)
            for section, keys in (settings or {}).items():
                self.gateway.settings.setdefault(section, {}).update(keys)
            self.api = self.gateway.api
        except BaseException:
            self.close()
            raise

    def _open_to_the_world(self):
        self.hub.ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", self.world.name)
        self.hub.ip_batch(["addr add 203.0.113.1/24 dev eth1", "addr add 2001:db8:113::1/64 dev eth1 nodad",
                           "link set eth1 up"])
        self.world.ip_batch([f"addr add {WORLD}/24 dev eth0", f"addr add {WORLD6}/64 dev eth0 nodad",
                             "link set eth0 up", "route add default via 203.0.113.1",
                             "route add default via 2001:db8:113::1"])
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.hub.sysctl(key, 1)

    def start(self, timeout=120):  # emulated, and with a sanitizer
        self.gateway.start(timeout=timeout)
        told = self.gateway.status()["gateway"]
        self.hub_address, self.hub_address6 = told["hub_address"], told["hub_address6"]
        self.pool, self.ula, self.public_key = told["pool"], told["ula"], told["public_key"]
        return self

    @property
    def interface(self):
        return self.gateway.interface

    def populate(self):
        """Both tenants with their routers, connected."""
        for tenant, (egress, names) in TENANTS.items():
            self.tenants[tenant] = self.api.post("/tenants", {"name": tenant, "egress": egress})["id"]
            for name in names:
                self.join(tenant, name, **({"lans": [LANS[name]]} if name in LANS else {}))
        for router in self.routers.values():
            self.settle(router)
        return self

    def add_tenant(self, name, **fields):
        self.tenants[name] = self.api.post("/tenants", {"name": name, **fields})["id"]
        return self.tenants[name]

    def join(self, tenant, name, **fields):
        """One more router, its client started. Its namespace goes with the plane."""
        made = self.api.post(f"/tenants/{self.tenants[tenant]}/routers", {"name": name, **fields})
        self.routers[name] = Router(self, tenant, made)
        return self.routers[name]

    def settle(self, router, wait=30):
        assert ping(router.namespace, [self.hub_address], wait=wait), f"{router.name} does not reach the hub"
        assert self.reaches_all(self.hub, router.addresses, wait), f"the hub does not reach {router.name}"
        # from now on the gateway knows where to call it, if it has to
        wait_until(lambda: self.api.get(f"/routers/{router.id}")["endpoint"], 10, f"the endpoint of {router.name}")

    # --- who and where ---

    def where(self, name):
        return {"hub": self.hub, "world": self.world}.get(name) or self.routers[name].namespace

    def interface_of(self, name):
        return {"hub": self.interface, "world": "eth0"}.get(name) or self.routers[name].client.interface

    def addresses(self, name):
        """IPv4 and IPv6."""
        return {"hub": [self.hub_address, self.hub_address6], "world": [WORLD, WORLD6]}.get(name) \
            or self.routers[name].addresses

    @staticmethod
    def reaches_all(namespace, addresses, wait=5.0):
        return len(ping(namespace, addresses, wait)) == len(set(addresses))

    def reaches_none(self, namespace, addresses, least=0.0, control=None):
        """None of them answers, while `control` does, (namespace, address): from the same place to the hub, else another router to
        the hub."""
        return not ping_in_vain(namespace, addresses, control or self._control(namespace, addresses), least)

    def _control(self, namespace, addresses):
        if namespace is not self.hub and self.hub_address not in addresses:
            return namespace, self.hub_address
        others = [router for router in self.routers.values()
                  if router.namespace is not namespace and not set(router.addresses) & set(addresses)]
        return others[0].namespace, self.hub_address

    def watch(self, *names):
        """Who hears what of what is sent from now on: see Watch.heard()."""
        return Watch(self, names)

    def pings(self, names=None, per_second=10):
        """Continuous pings hub -> router and router -> hub. Not started."""
        routers = [self.routers[name] for name in names or self.routers]
        return Pings([(self.hub, router.address) for router in routers]
                     + [(router.namespace, self.hub_address) for router in routers], per_second)

    def counters(self):
        return self.api.get("/counters")["counters"]

    def tenant(self, name):
        return self.api.get(f"/tenants/{self.tenants[name]}")

    def router(self, name):
        return self.api.get(f"/routers/{self.routers[name].id}")

    # --- what goes on in the gateway's namespace, behind our back ---

    def wg(self, *arguments, **options):
        return self.hub.run("wg", *arguments, **options)

    def peers(self):
        """{public key: set of allowed IPs}, as the stock tool reads them, of those that have any: on the kernel a removed
        peer loses them at once, and goes in a batch with others later."""
        lines = (line.split("\t") for line in self.wg("show", self.interface, "allowed-ips").splitlines())
        return {key: set(allowed.split()) for key, allowed in lines if allowed != "(none)"}

    def peer_count(self):
        return len(self.wg("show", self.interface, "peers").split())

    def wait_in_sync(self, seconds=15):
        return self.gateway.wait_in_sync(seconds)

    # --- packets ---

    def carry(self, source, target, size):
        """Moves `size` bytes over TCP from one participant to another's IPv4 address; how many arrived."""
        address = self.addresses(target)[0]
        with self.where(target).socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind((address, 0))
            listener.listen(1)
            listener.settimeout(30)
            sender = self.where(source).popen(
                "/usr/bin/python3", "-c",
                "import socket, sys\n"
                "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n"
                "s.sendall(bytes(int(sys.argv[3])))",
                address, str(listener.getsockname()[1]), str(size), stderr=subprocess.DEVNULL)
            try:
                connection, _ = listener.accept()
                connection.settimeout(30)
                arrived = 0
                with connection:
                    while piece := connection.recv(1 << 18):
                        arrived += len(piece)
                return arrived
            except TimeoutError:
                return 0
            finally:
                sender.kill()
                sender.wait()

    def flood(self, source, target, seconds=1.0, size=1000, pause=0.0005, least=0):
        """Sends UDP to somebody's IPv4 address, for a while and at least so many; (sent, arrived, seconds)."""
        address = self.addresses(target)[0]
        with self.where(target).socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, \
                self.where(source).socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            receiver.bind((address, 0))
            sender.connect(receiver.getsockname())
            sent, began = 0, time.monotonic()
            while (took := time.monotonic() - began) < seconds or sent < least:
                with contextlib.suppress(OSError):  # an ICMP refusal of an earlier one
                    sender.send(bytes(size - 28))
                sent += 1
                time.sleep(pause)
            receiver.settimeout(0.5)
            arrived = 0
            try:
                while receiver.recv(2048):
                    arrived += 1
            except TimeoutError:
                pass
        return sent, arrived, took

    def close(self):
        said = []
        for router in self.routers.values():
            router.client.close()
        if self.gateway:
            self.gateway.close()
            said = suite.sanitizers_words(*self.folder.glob("*.log"))
        if self.names:
            self.names.close()
        if self.network:
            self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not said, "\n".join(said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
