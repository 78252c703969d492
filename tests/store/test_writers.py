"""Two sallyportd on one database, writing at once: no address twice, no revision missing, nothing lost."""
import itertools
import threading

from conftest import wait_until
from harness.api import ApiError
from harness.load import public_key


def settings(name):
    return {"gateway": {"name": name}}


def events_of(api):
    after, events = 0, []
    while page := api.get("/events", after=after, limit=1000)["items"]:
        events += page
        after = page[-1]["revision"]
    return events


def test_two_gateways_create_at_once(shared_server, database, make_gateway):
    first = make_gateway(database, settings=settings("first"))
    second = make_gateway(database, key_of=first, settings=settings("second"))
    both = (first, second)
    unique = first.api.post("/tenants", {"name": "unique"})["id"]
    private = second.api.post("/tenants", {"name": "private", "addressing": "private", "subnet": "10.5.0.0/24"})["id"]
    answers, faults, lans = [], [], itertools.count()

    def create(gateway, number):
        api = gateway.client()
        try:
            for turn in range(15):
                answers.append(api.post(f"/tenants/{unique}/routers", {"name": f"u{number}-{turn}"}))
                answers.append(api.post(f"/tenants/{private}/routers", {"name": f"p{number}-{turn}"}))
                bulk = api.post("/tenants/bulk", {"tenants": [
                    {"name": f"b{number}-{turn}-{n}", "routers": [{"name": "r"}, {"name": "s"}]} for n in range(4)]})
                assert bulk["created"] == 4, bulk
                answers.extend(router for item in bulk["items"] for router in item["routers"])
                try:  # the same LAN from both: one wins, the other hears whose it is
                    api.post(f"/tenants/{unique}/routers", {"name": "lan", "lans": [f"172.16.{turn}.0/{24 + number % 2}"]})
                    next(lans)
                except ApiError as error:
                    assert error.status == 409 and "lan" in error.problem["type"], error
        except Exception as fault:  # told below
            faults.append(fault)

    threads = [threading.Thread(target=create, args=(both[number % 2], number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not faults, faults
    assert next(lans) == 15  # one winner each
    for gateway in both:
        routers = list(gateway.api.all("/routers"))
        assert {router["id"] for router in answers} <= {router["id"] for router in routers}
        for column in ("hub_address", "address6", "public_key"):
            assert len({router[column] for router in routers}) == len(routers)
        own = [router["address"] for router in routers if router["tenant_id"] == private]
        assert len(own) == len(set(own)) == 60
        events = [event["revision"] for event in events_of(gateway.api)]
        assert events == list(range(1, len(events) + 1))
    name = database.partition("@/")[2].partition("?")[0]
    assert shared_server.sql("SELECT COUNT(*) FROM tenant_vpn_tunnels t WHERE routers <> (SELECT COUNT(*) FROM "
                             "vpn_configurations r WHERE r.tenant_vpn_tunnel_id = t.id)", name=name) == "0"


def test_a_bulk_request_lets_the_other_gateway_write_in_between(database, make_gateway):
    first = make_gateway(database, settings=settings("first"))
    second = make_gateway(database, key_of=first, settings=settings("second"))
    answers = []

    def bulk():
        answers.append(first.client().post("/tenants/bulk?return=minimal", {"tenants": [
            {"name": f"t{n}", "addressing": "private", "routers": [{"name": "r", "public_key": public_key()}]}
            for n in range(5000)]}))

    before = second.api.get("/events")["newest"]
    thread = threading.Thread(target=bulk)
    thread.start()
    wait_until(lambda: second.api.get("/events")["newest"] > before, 60)
    made = second.api.post("/tenants", {"name": "in between"})
    thread.join(120)
    assert answers[0]["created"] == 5000
    # its change is among those of the bulk request, not behind them
    kinds = {event["tenant_id"]: event["revision"] for event in events_of(second.api)}
    assert kinds[made["id"]] < max(kinds.values())
    wait_until(lambda: second.status()["backend"]["peers"] == 5000, 60)


def test_the_last_address_goes_to_one_of_two(database, make_gateway):
    first = make_gateway(database, settings=settings("first"))
    second = make_gateway(database, key_of=first, settings=settings("second"))
    tenant = first.api.post("/tenants", {"name": "small", "addressing": "private", "subnet": "10.5.0.0/29"})["id"]
    outcomes = []

    def take(gateway):
        api = gateway.client()
        for _ in range(5):
            outcomes.append(api.raw("POST", f"/tenants/{tenant}/routers", b'{"name": "r"}')[0])

    threads = [threading.Thread(target=take, args=(gateway,)) for gateway in (first, second, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == [201] * 6 + [409] * 14
