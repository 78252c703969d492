"""The stage of the tests about tenants.

                              [switch]  198.51.100.0/24, a bridge that plays the internet's cables
     .------.------.------.------.------.------+------.
     |      |      |      |      |      |             |
    [a1]   [a2]   [b1]   [b2]   [c1]   [c2]          [gw]  wg  hub 10.0.0.1/8, fd00:5a::1/32;  ip_forward=1
                                                      |
                                                     eth1 203.0.113.1/24, 2001:db8:113::1/64
                                                      |
                                                     eth0 203.0.113.2/24, 2001:db8:113::2/64
                                                    [inet]  a host of the world; routes all of ours back

    tenant   addressing   egress   routers (inside)            hub addresses
    A        private      yes      10.100.0.2   10.100.0.3     10.200.0.2   10.200.0.3
    B        private      no       10.100.0.2   10.100.0.3     10.201.0.2   10.201.0.3
    C        unique       yes      10.101.0.2   10.101.0.3     the same

    IPv6 is unique in all: fd00:5a:a::2 and ::3, fd00:5a:b::2 ..., fd00:5a:c::2 ...
    LANs: 192.168.1.0/24 behind a1, b1 and c1, with 192.168.1.1 on it. Yes, the same in all three.

Routers are stock wireguard-go, their peer being the gateway with allowed IPs 0.0.0.0/0 and ::/0, and routes for
everything into the tunnel: nothing on their side keeps them apart.
"""
import dataclasses
import socket
import threading

from lab import SLOW, World, wait_until
from packets import IP_RECVERR, IPV6_RECVERR

A, B, C = (f"0190a000-0000-7000-8000-00000000000{n}" for n in "abc")
HUB, HUB6 = "10.0.0.1", "fd00:5a::1"
INET, INET6 = "203.0.113.2", "2001:db8:113::2"
LAN = "192.168.1.1"
EVERYWHERE = ["10.0.0.0/8", "203.0.113.0/24", "192.168.0.0/16", "fd00:5a::/32", "2001:db8:113::/64"]


@dataclasses.dataclass
class Router:
    name: str
    tenant: str
    inside: str
    hub_address: str
    address6: str
    lan: bool
    space: object = None
    device: object = None

    @property
    def allowed(self):
        return [f"{self.inside}/32", f"{self.address6}/128"] + (["192.168.1.0/24"] if self.lan else [])

    @property
    def extra(self):
        translated = "" if self.inside == self.hub_address else f"={self.inside}"
        return [f"peer_tenant={self.tenant}", f"hub_address={self.hub_address}{translated}",
                f"hub_address={self.address6}"]


def routers():
    return [Router(f"{letter}{n}", tenant, f"{inside}.{n + 1}", f"{hub}.{n + 1}", f"fd00:5a:{letter}::{n + 1}", n == 1)
            for letter, tenant, inside, hub in (("a", A, "10.100.0", "10.200.0"), ("b", B, "10.100.0", "10.201.0"),
                                                ("c", C, "10.101.0", "10.101.0"))
            for n in (1, 2)]


class Stage(World):
    def __init__(self, workers=2, wanted=("a1", "a2", "b1", "b2", "c1", "c2")):
        super().__init__()
        self.routers = {router.name: router for router in routers() if router.name in wanted}
        try:
            self._build(workers)
        except BaseException:
            self.close()
            raise

    def _build(self, workers):
        switch = self.space("switch")
        switch.ip("link add br0 type bridge", "link set br0 up")
        self.gw, self.inet = self.space("gw"), self.space("inet")
        self.link(self.gw, ["203.0.113.1/24", "2001:db8:113::1/64"], self.inet, [f"{INET}/24", f"{INET6}/64"],
                  names=("eth1", "eth0"))
        self.inet.ip("route add 10.0.0.0/8 via 203.0.113.1", "route add 192.168.0.0/16 via 203.0.113.1",
                     "route add fd00::/8 via 2001:db8:113::1")
        for name, value in (("net.ipv4.ip_forward", 1), ("net.ipv6.conf.all.forwarding", 1),
                            ("net.ipv4.conf.all.rp_filter", 0), ("net.ipv4.conf.default.rp_filter", 0),
                            ("net.ipv4.conf.all.send_redirects", 0), ("net.ipv4.conf.default.send_redirects", 0)):
            self.gw.sysctl(name, value)
        self._plug(switch, self.gw, "gw", 1)
        self.hub = self.device(self.gw, implementation="sallyport-wg", port=51820, arguments=["--workers", workers],
                               addresses=[f"{HUB}/8", f"{HUB6}/32"], routes=["192.168.0.0/16"])
        self.hub.set(f"hub={HUB}/32", f"hub={HUB6}/128",
                     f"tenant={A}", "addressing=private", "egress=true",
                     f"tenant={B}", "addressing=private", "egress=false",
                     f"tenant={C}", "addressing=unique", "egress=true")
        for number, router in enumerate(self.routers.values()):
            router.space = self.space(router.name)
            self._plug(switch, router.space, router.name, 10 + number)
            if router.lan:
                router.space.ip(f"addr add {LAN}/32 dev lo")
            router.device = self.device(router.space, implementation="wireguard-go", routes=EVERYWHERE,
                                        addresses=[f"{router.inside}/16", f"{router.address6}/48"])
            self.admit(router)  # first, or the router's first initiation meets a stranger and the next comes 5 s later
            router.device.add(self.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820", keepalive=25)
        for router in self.routers.values():
            self.settle(router)

    def _plug(self, switch, space, name, number):
        self.link(switch, [], space, [f"198.51.100.{number}/24"], names=(f"v{name}", "eth0"))
        switch.ip(f"link set v{name} master br0")

    def admit(self, router):
        """Makes the engine know a router."""
        self.hub.add(router.device, router.allowed, extra=router.extra)

    def settle(self, router):
        """Waits until the router has a session and the hub answers it."""
        wait_until(lambda: router.space.ping(HUB, timeout=1), 10, what=f"{router.name} to reach the hub")

    def where(self, name):
        """The namespace of a participant."""
        return {"hub": self.gw, "inet": self.inet}.get(name) or self.routers[name].space

    def source(self, name, family=4):
        """The address a participant speaks from."""
        if name == "hub":
            return HUB if family == 4 else HUB6
        if name == "inet":
            return INET if family == 4 else INET6
        router = self.routers[name]
        return router.inside if family == 4 else router.address6

    def address(self, name, seen_from, family=4):
        """How a participant is addressed by another, if by anything: inside its tenant, else by hub address."""
        if name in ("hub", "inet") or family == 6:
            return self.source(name, family)
        router = self.routers[name]
        other = self.routers.get(seen_from)
        return router.inside if other and other.tenant == router.tenant else router.hub_address


class Answerers:
    """On every participant: UDP and TCP ports that say who answered. Ask with ask_udp and ask_tcp."""

    PORT = 7777

    def __init__(self, stage):
        self.sockets = []
        for name in [*stage.routers, "hub", "inet"]:
            space = stage.where(name)
            for kind, serve in ((socket.SOCK_DGRAM, self._udp), (socket.SOCK_STREAM, self._tcp)):
                s = space.socket(socket.AF_INET6, kind)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                s.bind(("::", self.PORT))
                if kind == socket.SOCK_STREAM:
                    s.listen(100)
                self.sockets.append(s)
                threading.Thread(target=serve, args=(s, name.encode()), daemon=True).start()

    @staticmethod
    def _udp(s, name):
        try:
            while True:
                data, ancillary, _, sender = s.recvmsg(65536, 256)
                if not sender:
                    return
                # from the address spoken to, whatever the routes say
                local = [(level, kind, value[:16] + bytes(4)) for level, kind, value in ancillary]
                s.sendmsg([name + b" " + data], local, 0, sender)
        except OSError:
            pass

    @staticmethod
    def _tcp(s, name):
        try:
            while True:
                connection, _ = s.accept()
                with connection:
                    connection.sendall(name)
        except OSError:
            pass

    def close(self):
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)  # wakes the thread
            except OSError:
                pass
            s.close()


def ask_udp(space, source, target, data=b"?", timeout=1.0, port=Answerers.PORT):
    """Who answers: a name; or the error's number if the question was refused; or None if nothing comes."""
    with space.udp(source) as s:
        s.settimeout(timeout * SLOW)
        # every ICMP error, also those that a UDP socket may ignore (RFC 1122, 4.1.3.3)
        s.setsockopt(*(socket.IPPROTO_IPV6, IPV6_RECVERR, 1) if ":" in source else (socket.IPPROTO_IP, IP_RECVERR, 1))
        try:
            s.connect((target, port))
            s.send(data)
            answer = s.recv(65536)
        except TimeoutError:
            return None
        except OSError as error:
            return error.errno
        name, _, said = answer.partition(b" ")
        assert said == data
        return name.decode()


def ask_tcp(space, source, target, timeout=1.0, port=Answerers.PORT):
    try:
        with space.tcp_connect(source, (target, port), timeout) as s:
            return s.recv(100).decode()
    except TimeoutError:
        return None
    except OSError as error:
        return error.errno
