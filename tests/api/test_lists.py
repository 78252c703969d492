"""Lists: pages by cursor, filters, and what happens while one reads."""
import urllib.parse

import pytest

COUNT = 2500


@pytest.fixture(scope="module")
def many(shared_gateway):
    """Thousands of tenants with a label of their own; every tenth is private, every seventh disabled."""
    api = shared_gateway.api
    label = "listed"
    ids = []
    made = api.post("/tenants/bulk?return=minimal", {"tenants": [
        {"name": f"{label} {n:04}", "addressing": "private" if n % 10 == 0 else "unique"} for n in range(COUNT)]})
    assert made["created"] == COUNT
    ids = [item["id"] for item in made["items"]]
    for n in range(0, 70, 7):
        api.post(f"/tenants/{ids[n]}/disable")
    yield ids
    for tenant_id in ids:
        api.raw("DELETE", f"/tenants/{tenant_id}")


def pages(api, path, **query):
    cursor = None
    while True:
        page = api.get(path, **query, **({"cursor": cursor} if cursor else {}))
        yield page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            return


@pytest.mark.parametrize("limit", [1000, 999, 37])
def test_every_item_is_seen_once_in_order_of_creation(api, many, limit):
    seen = [item["id"] for page in pages(api, "/tenants", q="listed", limit=limit) for item in page]
    assert seen == many


def test_a_page_has_the_asked_size_and_100_by_default(api, many):
    assert len(api.get("/tenants")["items"]) == 100
    assert len(api.get("/tenants", limit=1)["items"]) == 1
    sizes = [len(page) for page in pages(api, "/tenants", q="listed", limit=1000)]
    assert sizes == [1000, 1000, 500]


def test_filters_narrow_and_combine(api, many):
    def found(**query):
        return [item["id"] for page in pages(api, "/tenants", limit=500, **query) for item in page]

    assert found(name="listed 0042") == [many[42]]
    assert found(name="listed") == []
    assert found(q="listed 004") == many[40:50]
    assert found(q="listed", addressing="private") == many[::10]
    assert found(q="listed", status="disabled") == many[0:70:7]
    assert found(q="listed", status="disabled", addressing="private") == [many[0]]
    assert len(found(q="listed", addressing="unique", status="active")) == COUNT - COUNT // 10 - 9
    assert found(q="%") == [] and found(q="listed_") == []  # no wildcards


def test_what_comes_and_goes_meanwhile_disturbs_no_page(api, make_tenant, many):
    first = api.get("/tenants", q="listed", limit=10)
    new = make_tenant(name="listed new")
    api.delete(f"/tenants/{new['id']}")
    last = make_tenant(name="listed last")
    rest = [item["id"] for item in _rest(api, first["next_cursor"])]
    assert [item["id"] for item in first["items"]] + rest == many + [last["id"]]


def _rest(api, cursor):
    while cursor:
        page = api.get("/tenants", q="listed", limit=1000, cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]


@pytest.mark.parametrize("cursor", ["x", "0", "-1", "zzzzzzzz", "c99999999999999999999", "' OR 1=1 --", "é"])
def test_a_cursor_that_is_none_is_refused(api, cursor):
    api.refused(422, None, "GET", "/tenants?cursor=" + urllib.parse.quote(cursor), field="cursor")


@pytest.fixture(scope="module")
def fleet(shared_gateway):
    """Two tenants with routers, some disabled."""
    api = shared_gateway.api
    made = api.post("/tenants/bulk", {"tenants": [
        {"name": "fleet one", "addressing": "private", "routers": [{"name": f"van {n:03}"} for n in range(250)]},
        {"name": "fleet two", "addressing": "private", "routers": [{"name": f"van {n:03}"} for n in range(50)]}]})
    for n in range(5):
        api.post(f"/routers/{made['items'][0]['routers'][n]['id']}/disable")
    yield made["items"]
    for item in made["items"]:
        api.raw("DELETE", f"/tenants/{item['tenant']['id']}")


def test_routers_are_found_by_what_they_have(api, fleet):
    one, two = fleet

    def found(path="/routers", **query):
        return [item["id"] for page in pages(api, path, limit=100, **query) for item in page]

    wanted = one["routers"][7]
    ids = [router["id"] for router in one["routers"]]
    assert found(tenant_id=one["tenant"]["id"]) == ids
    assert found(f"/tenants/{one['tenant']['id']}/routers") == ids
    assert found(public_key=wanted["public_key"]) == [wanted["id"]]
    assert found(address=wanted["hub_address"]) == [wanted["id"]]
    assert found(address=wanted["address6"]) == [wanted["id"]]
    # a tunnel address means something in a tenant only
    assert set(found(address=wanted["address"])) >= {wanted["id"], two["routers"][7]["id"]}
    assert found(address=wanted["address"], tenant_id=one["tenant"]["id"]) == [wanted["id"]]
    assert found(name="van 007", tenant_id=two["tenant"]["id"]) == [two["routers"][7]["id"]]
    assert found(q="van 00", tenant_id=one["tenant"]["id"]) == ids[:10]
    assert found(status="disabled", tenant_id=one["tenant"]["id"]) == ids[:5]
    assert found(connected="true", tenant_id=one["tenant"]["id"]) == []
    assert found(connected="false", tenant_id=one["tenant"]["id"]) == ids
    api.gone("/routers?tenant_id=0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b")


def test_the_path_gives_the_tenant_alone(api, fleet):
    one = fleet[0]["tenant"]["id"]
    api.refused(422, "unknown-parameter", "GET", f"/tenants/{one}/routers?tenant_id={one}", field="tenant_id")
    api.gone("/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b/routers")
