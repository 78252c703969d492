"""The recorded history: many writers at all gateways at once, gateways killed and cut off meanwhile. Afterwards every
change that was acknowledged is in the feed of all, in one order; nothing is lost, nothing came back, and no address was
handed out twice."""
import collections
import random
import threading
import time

from fleet import until
from harness.api import Api, ApiError
from harness.client import key_pair

KINDS = {"create": "router.created", "delete": "router.deleted", "disable": "router.disabled", "enable": "router.enabled"}


class Writer(threading.Thread):
    """Creates, deletes, disables and enables routers of its own and of others at a gateway of its own, and writes down
    what was acknowledged, what was refused and what is uncertain."""

    def __init__(self, member, tenants, shared, stop, seed):
        super().__init__(daemon=True)
        self.member, self.tenants, self.shared, self.stop = member, tenants, shared, stop
        self.random = random.Random(seed)
        self.history, self.failure = [], None

    def run(self):
        try:
            self.work()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def work(self):
        api = Api(self.member.socket, timeout=20)
        while not self.stop.is_set():
            known = list(self.shared)
            verb = self.random.choices(list(KINDS), (5, 2, 2, 2))[0] if known else "create"
            target = self.random.choice(known) if known else None
            began = time.monotonic()
            try:
                if verb == "create":
                    body = {"name": "r", "public_key": key_pair()[1]}
                    made = api.post(f"/tenants/{self.random.choice(self.tenants)}/routers", body)
                    target = made["id"]
                    self.shared.append(target)
                elif verb == "delete":
                    api.delete(f"/routers/{target}")
                else:
                    made = api.post(f"/routers/{target}/{verb}")
                self.history.append((began, time.monotonic(), verb, target, "done"))
            except ApiError as error:
                assert error.status in (404, 503), error
                self.history.append((began, time.monotonic(), verb, target, "no" if error.status == 404 else "unknown"))
                if error.status == 503:
                    time.sleep(0.05)
            except OSError:  # the gateway was killed
                self.history.append((began, time.monotonic(), verb, target, "unknown"))
                api.close()
                time.sleep(0.05)


def replay(events):
    """What the feed leads to: {router: status}, those deleted, and any contradiction."""
    alive, gone, wrong = {}, set(), []
    for event in events:
        router, kind = event["router_id"], event["kind"]
        if kind == "router.created":
            if router in alive or router in gone:
                wrong.append(f"{router} was made twice")
            alive[router] = True
        elif kind in ("router.deleted", "router.disabled", "router.enabled"):
            if router not in alive:
                wrong.append(f"{kind} of {router}, which does not exist")
            if kind == "router.deleted":
                alive.pop(router, None)
                gone.add(router)
            else:
                alive[router] = kind == "router.enabled"
    return alive, gone, wrong


def test_the_recorded_history(make_fleet):
    fleet = make_fleet().start()
    tenants = [fleet.tenant(f"t{i}", "private" if i % 2 else "unique") for i in range(4)]
    assert fleet.in_step()
    stop, shared = threading.Event(), collections.deque(maxlen=400)
    writers = [Writer(member, tenants, shared, stop, seed) for seed, member in enumerate(fleet.members * 2)]
    for writer in writers:
        writer.start()
    time.sleep(3)
    fleet.east.kill()
    time.sleep(1)
    fleet.east.start()
    fleet.south.relay.cut()
    time.sleep(1)
    fleet.south.relay.heal()
    time.sleep(3)
    stop.set()
    for writer in writers:
        writer.join(40)
        assert writer.failure is None, writer.failure
        assert not writer.is_alive()
    done = [entry for writer in writers for entry in writer.history if entry[4] == "done"]
    assert len(done) > 300, len(done)
    assert fleet.in_step(20)

    feeds = [member.events() for member in fleet.members]
    assert feeds[0] == feeds[1] == feeds[2]
    assert [event["revision"] for event in feeds[0]] == list(range(1, len(feeds[0]) + 1))
    alive, gone, wrong = replay(feeds[0])
    assert wrong == []
    # every acknowledged change is there; a repeated disable or enable changes nothing and is no event
    events = collections.Counter((event["kind"], event["router_id"]) for event in feeds[0])
    for *_, verb, router, _ in done:
        if verb in ("create", "delete"):
            assert events[KINDS[verb], router] == 1, (verb, router)
    # an acknowledged delete is final: whoever asked later was told so
    ended = {router: at for _, at, verb, router, said in done if verb == "delete"}
    for began, _, verb, router, said in (e for w in writers for e in w.history):
        if said == "done" and verb != "create" and router in ended and began > ended[router]:
            raise AssertionError(f"{verb} of {router} was done after its deletion")
    check_state(fleet, alive, gone)


def check_state(fleet, alive, gone):
    rows = fleet.server.sql("SELECT router_id, client_public_key, status, hub_address, client_ip, tenant_id "
                            "FROM vpn_configurations", fleet.database).splitlines()
    rows = [row.split("|") for row in rows]
    assert {row[0] for row in rows} == set(alive) and not gone & {row[0] for row in rows}
    assert {row[0]: row[2] != "disabled" for row in rows} == alive
    assert len({row[3] for row in rows}) == len(rows)
    assert len({(row[4], row[5]) for row in rows}) == len(rows)
    wanted = {row[1] for row in rows if row[2] != "disabled"}
    for member in fleet.members:
        assert until(lambda m=member: m.peers() == wanted, 20), member.name
        counts = member.status()["counts"]
        assert counts["routers"] == len(rows), member.name


def test_addresses_run_out_at_the_same_moment_everywhere(make_fleet):
    """All ask for the last addresses of one small subnet at once: each is given once, and all then hear that it is full."""
    fleet = make_fleet().start()
    tenant = fleet.north.api.post("/tenants", {"name": "t", "addressing": "private", "subnet": "10.100.0.0/27"})["id"]
    assert fleet.in_step()
    given, refused, lock = [], [], threading.Lock()

    def ask(member):
        api = Api(member.socket)
        while True:
            try:
                made = api.post(f"/tenants/{tenant}/routers", {"name": "r", "public_key": key_pair()[1]})
                with lock:
                    given.append((made["address"], made["hub_address"]))
            except ApiError as error:
                with lock:
                    refused.append(error.problem["type"])
                return

    threads = [threading.Thread(target=ask, args=(member,)) for member in fleet.members * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(refused) == {"urn:sallyport:problem:subnet-exhausted"} and len(refused) == 6
    assert len(given) == len({address for address, _ in given}) == len({hub for _, hub in given}) == 30
