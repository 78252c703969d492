"""Three gateways on one PostgreSQL, each with its engine in a namespace of its own, and stock routers.

                       198.51.100.0/24, the internet (a bridge)
        +-----------+-----------+------+---- ... ---+
        |           |           |      |            |
      north        south       east  router       router
     sallyportd  sallyportd  sallyportd
     engine      engine      engine
        |           |           |
      relay       relay       relay        Unix sockets that can be cut (relay.py)
        +-----------+-----------+
                    |
                PostgreSQL

All have the same server key and the same hub; routers dial whichever they are told.
"""
import contextlib
import pathlib
import time

from harness.client import Client, key_pair
from harness.gateway import Gateway
from relay import Relay

NAMES = ("north", "south", "east")


def until(condition, timeout=10.0, every=0.02):
    """Waits until condition() is true; what it said, or what it said last if time is up (then false)."""
    end = time.monotonic() + timeout
    while True:
        said = condition()
        if said or time.monotonic() > end:
            return said
        time.sleep(every)


class Member(Gateway):
    """A gateway of the fleet: also .name, .relay and .address."""

    def __init__(self, build, folder, namespace, relay, url, settings, environment):
        self.name, self.relay, self.address = settings["gateway"]["name"], relay, namespace.address
        super().__init__(build, folder, namespace, settings, environment)
        self.settings["store"]["url"] = url

    def peer(self, public_key):
        """What its engine holds of a peer, or None."""
        dump = self.namespace.run("wg", "show", self.interface, "dump", check=False)
        for line in dump.splitlines()[1:]:
            fields = line.split("\t")
            if fields[0] == public_key:
                return {"endpoint": fields[2], "handshake": int(fields[4]), "rx": int(fields[5]), "tx": int(fields[6])}
        return None

    def peers(self):
        dump = self.namespace.run("wg", "show", self.interface, "peers", check=False)
        return set(dump.split())

    def events(self, after=0):
        """Everything in its feed after a revision."""
        found = []
        while True:
            page = self.api.get(f"/events?after={after}&limit=1000")
            if not page["items"]:
                return found
            found += page["items"]
            after = page["next_after"]


class Fleet:
    """Fleet(build, folder, network, server, database).start(); .north, .south, .east, .members; .close()."""

    def __init__(self, build, folder, network, server, database, names=NAMES, settings=None, environment=None):
        self.build, self.folder, self.network, self.server = build, pathlib.Path(folder), network, server
        self.database = database
        server.database(database)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = self.folder / "server.key"
        self.key.write_text(key_pair()[0] + "\n", encoding="ascii")
        self.key.chmod(0o600)
        self.settings = settings or {}
        self.members, self.clients = [], []
        try:
            for name in names:
                self.join(name, environment=environment)
        except BaseException:
            self.close()
            raise

    def join(self, name, namespace=None, environment=None, **gateway):
        """One more gateway, not started."""
        relay = Relay(self.folder / f"{name}-{len(self.members)}-db", self.server)
        url = f"postgresql://{self.server.url(self.database).partition('://')[2].partition('?')[0]}?host={relay.folder}"
        settings = {section: dict(keys) for section, keys in self.settings.items()}
        settings.setdefault("gateway", {}).update(
            {"name": name, "private_key_file": str(self.key), "region": f"region-{name}", **gateway})
        settings.setdefault("daemon", {}).setdefault("usage_seconds", 1)
        member = Member(self.build, self.folder / f"{name}-{len(self.members)}",
                        namespace or self.network.host(f"{name}{len(self.members)}"), relay, url, settings,
                        environment or {})
        self.members.append(member)
        return member

    def start(self):
        for member in self.members:
            member.start()
        return self

    def __getattr__(self, name):
        for member in self.__dict__.get("members", []):
            if member.name == name:
                return member
        raise AttributeError(name)

    def tenant(self, name="acme", addressing="private", at=None):
        return (at or self.members[0]).api.post("/tenants", {"name": name, "addressing": addressing})["id"]

    def router(self, tenant, name="r", at=None):
        """Made with a key of its own, as routers do: the answer, with its "private_key"."""
        private, public = key_pair()
        made = (at or self.members[0]).api.post(f"/tenants/{tenant}/routers", {"name": name, "public_key": public})
        return {**made, "private_key": private}

    def client(self, made, at, namespace=None):
        """A stock router that dials a gateway. Not up yet."""
        text = made["config"].replace("[Interface]", f"[Interface]\nPrivateKey = {made['private_key']}", 1)
        text = "\n".join(line if not line.startswith("Endpoint") else f"Endpoint = {at.address}:51820"
                         for line in text.splitlines() if not line.startswith("PrivateKey = ROUTER"))
        client = Client(namespace or self.network.host(f"r{len(self.clients)}"), text)
        self.clients.append(client)
        return client

    @staticmethod
    def dial(client, at):
        """The router dials another gateway from now on, and says hello at once."""
        peer = client.wg("show", client.interface, "peers").strip()
        time.sleep(0.05)  # wireguard-go's timestamps move every 17 ms, and an equal one is a replay
        # a new handshake: as routers do that look the name up again when nobody answers
        client.wg("set", client.interface, "peer", peer, "remove")
        allowed = ",".join(client.config.allowed)
        client.wg("set", client.interface, "peer", peer, "allowed-ips", allowed, "endpoint", f"{at.address}:51820",
                  "persistent-keepalive", "25")

    def everywhere(self, condition, timeout=5.0):
        """Seconds until it is true of every living member; None if it is not in time."""
        began = time.monotonic()
        waiting = [member for member in self.members if member.process]
        while waiting:
            waiting = [member for member in waiting if not condition(member)]
            if time.monotonic() - began > timeout:
                return None
        return time.monotonic() - began

    def in_step(self, timeout=10):
        """All living members follow up to the database's last revision."""
        last = int(self.server.sql("SELECT value FROM vpn_revision", self.database))
        return until(lambda: all(member.status()["store"]["revision"] >= last for member in self.members
                                 if member.process), timeout)

    def close(self):
        for client in self.clients:
            client.close()
        for member in self.members:
            with contextlib.suppress(OSError):
                member.relay.heal()
        for member in self.members:
            try:
                member.close()
            finally:
                member.relay.close()

    def faults(self):
        """What sanitizers said, in the daemons' and the engines' logs."""
        words = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")
        logs = [log for member in self.members for log in (member.log, member.folder / "engine.log") if log.exists()]
        return [line for log in logs for line in log.read_text(errors="replace").splitlines()
                if any(word in line for word in words)]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
