"""The main job on a stage: a gateway, three tenants and their stock routers, all in namespaces.

                    198.51.100.0/24, the internet (a bridge)
      +--------+--------+--------+--------+--------+--------+
      |        |        |        |        |        |        |
    gateway  harbour  harbour   lake     lake     peak     peak
     :51820   roof    cellar    roof    cellar    roof    cellar

    harbour, lake: private tenants, both on 10.100.0.0/16 (roof .10, cellar .11); peak: a unique tenant

The demo and the benchmarks drive it; each method does one thing and returns what was seen.
"""
import pathlib
import random
import shutil
import tempfile
import time

from . import load
from .client import Client, default_implementation
from .gateway import Gateway, memory_mb
from .netns import Network
from .probe import Names, Pings, ask_name, ping, ping_each

TENANTS = (("harbour", "private"), ("lake", "private"), ("peak", "unique"))
ROUTERS = (("roof", "10.100.0.10"), ("cellar", "10.100.0.11"))


class Router:
    """A router as the API made it, its namespace and its client."""

    def __init__(self, tenant, made, namespace):
        self.tenant, self.namespace = tenant, namespace
        self.name = f"{tenant}/{made['name']}"
        self.id, self.address, self.address6 = made["id"], made["address"], made["address6"]
        self.hub_address = made["hub_address"]
        self.client = Client(namespace, made["config"])


class Stage:
    def __init__(self, build, prefix="sp"):
        self.build = build
        self.implementation = default_implementation()
        self.tenants, self.routers, self.loaded_ids = {}, [], []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-stage-"))
        self.network = self.gateway = self.names = None
        try:
            self.network = Network(prefix)
            self.names = Names()
            self.hub = self.network.host("gateway")
            self.gateway = Gateway(build, self.folder, self.hub)
            self.api = self.gateway.api
        except BaseException:
            self.close()
            raise

    def start(self):
        self.gateway.start()
        status = self.gateway.status()["gateway"]
        self.hub_address, self.hub_address6 = status["hub_address"], status["hub_address6"]
        self.pool, self.ula = status["pool"], status["ula"]
        return self

    def add_tenants(self):
        """Three tenants and six routers, connected."""
        for tenant, addressing in TENANTS:
            body = {"name": tenant, "addressing": addressing}
            if addressing == "private":
                body["subnet"] = "10.100.0.0/16"
            self.tenants[tenant] = self.api.post("/tenants", body)["id"]
            for name, wish in ROUTERS:
                body = {"name": name, **({"address": wish} if addressing == "private" else {})}
                made = self.api.post(f"/tenants/{self.tenants[tenant]}/routers", body)
                self.connect(tenant, made, self.network.host(f"{tenant}-{name}"))

    def connect(self, tenant, made, namespace):
        """Starts the client of a router from the answer that made it."""
        router = Router(tenant, made, namespace)
        self.routers.append(router)
        self.names.serve(namespace, router.name)
        router.client.up()
        return router

    def of(self, tenant):
        return [router for router in self.routers if router.tenant == tenant]

    # --- what is seen ---

    def reach(self):
        """Who should reach whom and does: {what: (reached, asked)}."""
        questions = {"hub": (self.hub, [a for r in self.routers for a in (r.hub_address, r.address6)])}
        for router in self.routers:
            siblings = [a for r in self.of(router.tenant) if r is not router for a in (r.address, r.address6)]
            questions[router.name] = (router.namespace, [*siblings, self.hub_address, self.hub_address6])
        found = ping_each(questions, wait=8.0)

        def tally(pick):
            asked = [(name, address) for name, (_, addresses) in questions.items() for address in addresses
                     if pick(name, address)]
            return sum(address in found[name] for name, address in asked), len(asked)

        hubs = (self.hub_address, self.hub_address6)
        return {
            "the hub reaches every router by its hub address": tally(lambda name, _: name == "hub"),
            "every router reaches the hub": tally(lambda name, address: name != "hub" and address in hubs),
            "routers of a tenant reach each other": tally(lambda name, address: name != "hub" and address not in hubs),
        }

    def twins(self):
        """The same address in two tenants: {question: name that answered}. The hub asks by hub address, the neighbour in
        each tenant by the address itself."""
        answers = {}
        for tenant in ("harbour", "lake"):
            roof, cellar = self.of(tenant)
            answers[f"hub asks {roof.hub_address}"] = (roof.name, ask_name(self.hub, roof.hub_address))
            answers[f"{cellar.name} asks {roof.address}"] = (roof.name, ask_name(cellar.namespace, roof.address))
        return answers

    def turn_hostile(self):
        """Every router routes the whole pool and the ULA into its tunnel, whatever its configuration said."""
        for router in self.routers:
            router.client.allow(self.pool, self.ula)

    def crossings(self, wait=1.5):
        """Attempts across tenants, by hub address, tunnel address and IPv6: (those that got through, attempts). Call after
        turn_hostile(). An address that also exists in the asking tenant is left out: its own router would answer."""
        questions = {}
        for router in self.routers:
            own = {a for r in self.of(router.tenant) for a in (r.address, r.address6, r.hub_address)}
            others = {a for r in self.routers if r.tenant != router.tenant
                      for a in (r.address, r.address6, r.hub_address)}
            questions[router.name] = (router.namespace, sorted(others - own))
        found = ping_each(questions, wait)
        through = [f"{name} -> {address}" for name, addresses in found.items() for address in addresses]
        return through, sum(len(addresses) for _, addresses in questions.values())

    def pings(self, per_second=20, routers=None):
        """Continuous pings hub -> router and router -> hub, for all routers or those given. Not started."""
        routers = self.routers if routers is None else routers
        targets = [(self.hub, router.hub_address) for router in routers]
        targets += [(router.namespace, self.hub_address) for router in routers]
        return Pings(targets, per_second)

    # --- what is measured ---

    def load(self, count, label="loaded", bar=None):
        """Tenants with one router each, which bring their keys. Tenants (and routers) per second."""
        bodies = load.tenants_bodies(count, label)
        seconds, items = load.bulk_create(self.gateway.socket, bodies, bar=bar)
        self.loaded_ids += [item["id"] for item in items]
        return count / seconds

    def load_making_keys(self, count, label="keyed"):
        """The same with key pairs made by the gateway."""
        bodies = load.tenants_bodies(count, label, own_keys=False, per_request=1000)
        seconds, _ = load.bulk_create(self.gateway.socket, bodies, minimal=False)
        return count / seconds

    def add_one(self, count):
        """Seconds from request to peer installed, for `count` routers added one by one to tenants among the loaded."""
        chosen = random.sample(self.loaded_ids, min(count, len(self.loaded_ids)))
        return load.add_each(self.api, chosen)

    def join_live(self, tenant, name):
        """One more router while everything runs: (router, seconds of the API request, seconds until its first ping)."""
        namespace = self.network.host(f"{tenant}-{name}")
        began = time.monotonic()
        made = self.api.post(f"/tenants/{self.tenants[tenant]}/routers", {"name": name})
        answered = time.monotonic()
        router = self.connect(tenant, made, namespace)
        reached = ping(namespace, [self.hub_address], wait=10, every=0.01)
        return router, answered - began, time.monotonic() - began if reached else None

    def restart(self):
        """kill -9 of sallyportd, and its start at once: seconds until it is in sync again."""
        self.gateway.kill()
        began = time.monotonic()
        self.gateway.start()
        return time.monotonic() - began

    def memory(self):
        """Resident MB: (engine, daemon)."""
        return memory_mb(self.gateway.engine_pid()), memory_mb(self.gateway.process.pid)

    def close(self):
        for router in self.routers:
            router.client.close()
        if self.gateway:
            self.gateway.close()
        if self.names:
            self.names.close()
        if self.network:
            self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
