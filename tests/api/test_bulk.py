"""Thousands of items in one request, each with a result of its own."""
import pytest


def routers_of(api, tenant):
    return list(api.all(f"/tenants/{tenant['id']}/routers"))


def remove_tenants(api, ids):
    for tenant_id in ids:
        api.raw("DELETE", f"/tenants/{tenant_id}")


def test_tenants_with_their_routers(api, name):
    wish = [{"name": name(), "addressing": "private", "routers": [{"name": f"site {n}"} for n in range(3)]},
            {"name": name()}]
    made = api.post("/tenants/bulk", {"tenants": wish})
    assert (made["created"], made["failed"]) == (2, 0)
    first, second = made["items"]
    assert [item["tenant"]["name"] for item in made["items"]] == [item["name"] for item in wish]
    assert [router["name"] for router in first["routers"]] == ["site 0", "site 1", "site 2"]
    assert first["tenant"]["routers"] == 3 and second["routers"] == []
    for router in first["routers"]:
        assert router["tenant_id"] == first["tenant"]["id"]
        assert f"PrivateKey = {router['private_key']}" in router["config"]
    shown = routers_of(api, first["tenant"])
    assert [router["id"] for router in shown] == [router["id"] for router in first["routers"]]
    remove_tenants(api, [item["tenant"]["id"] for item in made["items"]])


def test_each_item_stands_or_falls_alone(api, tenant, router, name, key):
    twice = key()
    items = [
        {"name": name(), "public_key": twice},
        {"name": name(), "public_key": twice},  # the same key as before it
        {"name": name(), "public_key": router["public_key"]},  # of another router
        {"name": "a\nb"},
        {"name": name(), "lans": ["192.168.1.0/24", "192.168.1.1/24"]},
        {"name": name(), "colour": "red"},
        "not an object",
        {"name": name(), "id": router["id"]},
        {"name": name()},
    ]
    status, _, made = _bulk(api, f"/tenants/{tenant['id']}/routers/bulk", {"routers": items})
    assert status == 200
    assert [item["status"] for item in made["items"]] == [201, 409, 409, 422, 422, 422, 422, 409, 201]
    assert (made["created"], made["failed"]) == (2, 7)
    fields = [item["problem"].get("field") for item in made["items"] if "problem" in item]
    assert fields == ["public_key", "public_key", "name", "lans[1]", "colour", None, "id"]
    assert {router["id"] for router in routers_of(api, tenant)} == \
        {router["id"], made["items"][0]["router"]["id"], made["items"][8]["router"]["id"]}


def _bulk(api, path, body):
    """A bulk request that is partly wrong on purpose."""
    api._meant = True
    try:
        return api.with_headers("POST", path, body)
    finally:
        api._meant = False


def test_a_tenant_with_a_faulty_router_is_not_made_at_all(api, name, key):
    called = name()
    bad = {"name": called, "routers": [{"name": "good"}, {"name": "bad", "public_key": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}
    _, _, made = _bulk(api, "/tenants/bulk", {"tenants": [bad, {"name": called + "!"}]})
    assert (made["created"], made["failed"]) == (1, 1)
    assert made["items"][0]["problem"]["field"] == "routers[1].public_key"
    assert api.get("/tenants", name=called)["items"] == []
    remove_tenants(api, [made["items"][1]["tenant"]["id"]])


def test_a_tenant_for_which_others_would_wait_too_long_is_refused_and_told_how(api, name, key):
    called = name()
    routers = [{"name": f"r{n}", "public_key": key(), "lans": [f"172.{16 + n // 256}.{n % 256}.0/24"]} for n in range(1001)]
    big, fits = {"name": called, "addressing": "private", "routers": routers}, {"name": called + "!"}
    _, _, made = _bulk(api, "/tenants/bulk", {"tenants": [big, fits]})
    problem = made["items"][0]["problem"]
    assert (made["failed"], made["items"][0]["status"], problem["field"]) == (1, 422, "routers")
    assert problem["type"].endswith(":item-too-large") and "/v1/tenants/{id}/routers/bulk" in problem["detail"]
    assert api.get("/tenants", name=called)["items"] == []
    # the way out
    tenant = api.post("/tenants/bulk", {"tenants": [{**big, "routers": routers[:1000]}]})["items"][0]["tenant"]
    assert api.post(f"/tenants/{tenant['id']}/routers/bulk", {"routers": routers[1000:]})["created"] == 1
    remove_tenants(api, [tenant["id"], made["items"][1]["tenant"]["id"]])


def test_routers_of_several_tenants(api, make_tenant, name, key):
    tenants = [make_tenant(addressing="private") for _ in range(3)]
    wish = [{"tenant_id": tenants[n % 3]["id"], "name": name(), "public_key": key()} for n in range(9)]
    wish.append({"tenant_id": "0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b", "name": name()})
    made = api.post("/routers/bulk", {"routers": wish})
    assert [item["status"] for item in made["items"]] == [201] * 9 + [404]
    assert [item["router"]["tenant_id"] for item in made["items"][:9]] == [item["tenant_id"] for item in wish[:9]]


def test_minimal_answers_have_ids_only(api, tenant, name, key):
    made = api.post(f"/tenants/{tenant['id']}/routers/bulk?return=minimal",
                    {"routers": [{"name": name(), "public_key": key()}, {"name": name()}]})
    assert set(made["items"][0]) == {"status", "id"}
    assert made["items"][1]["problem"]["type"].endswith("keys-would-be-lost")
    assert api.get(f"/routers/{made['items'][0]['id']}")["tenant_id"] == tenant["id"]
    assert len(routers_of(api, tenant)) == 1
    made = api.post("/tenants/bulk?return=minimal", {"tenants": [
        {"name": name(), "routers": [{"name": name(), "public_key": key()}]}]})
    assert set(made["items"][0]) == {"status", "id", "router_ids"} and len(made["items"][0]["router_ids"]) == 1
    remove_tenants(api, [made["items"][0]["id"]])


def test_the_request_itself_must_be_right(api, tenant, name):
    path = f"/tenants/{tenant['id']}/routers/bulk"
    api.refused(422, "missing-field", "POST", path, {}, field="routers")
    api.refused(422, "wrong-type", "POST", path, {"routers": {}}, field="routers")
    api.refused(422, "out-of-range", "POST", path, {"routers": []}, field="routers")
    api.refused(422, "out-of-range", "POST", path, {"routers": [{}] * 10001}, field="routers")
    api.refused(422, "unknown-field", "POST", path, {"routers": [{}], "dry_run": True}, field="dry_run")
    api.refused(422, "invalid-value", "POST", path + "?return=some", {"routers": [{}]}, field="return")
    api.refused(422, "too-many-items", "POST", "/tenants/bulk", {"tenants": [{"name": "x", "routers": [{}] * 10001}]})
    api.refused(404, None, "POST", "/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b/routers/bulk", {"routers": [{}]})


def test_ten_thousand_tenants_with_a_router_each(make_gateway):
    gateway = make_gateway()
    made = gateway.api.post("/tenants/bulk", {"tenants": [
        {"name": f"many {n}", "addressing": "private", "routers": [{"name": "router"}]} for n in range(10000)]})
    assert (made["created"], made["failed"]) == (10000, 0)
    assert len({item["routers"][0]["hub_address"] for item in made["items"]}) == 10000
    assert len({item["routers"][0]["private_key"] for item in made["items"]}) == 10000
    assert gateway.status()["counts"] == {"tenants": 10000, "routers": 10000, "connected_routers": 0}


@pytest.mark.parametrize("addressing", ["unique", "private"])
def test_a_thousand_routers_in_one_tenant(api, make_tenant, addressing):
    tenant = make_tenant(addressing=addressing)
    made = api.post(f"/tenants/{tenant['id']}/routers/bulk", {"routers": [{"name": f"r{n}"} for n in range(1000)]})
    assert made["created"] == 1000
    assert len({item["router"]["address"] for item in made["items"]}) == 1000
    assert api.get(f"/tenants/{tenant['id']}")["routers"] == 1000
