"""Tenants: made, shown, changed, silenced, removed."""
import ipaddress
import uuid

import pytest


def test_create_answers_with_what_was_made_and_where_it_is(api, name):
    called = name("Zoë's café – τενάντ")
    status, headers, made = api.with_headers("POST", "/tenants", {"name": called})
    assert status == 201
    assert headers["Location"] == f"/v1/tenants/{made['id']}"
    assert headers["Cache-Control"] == "no-store"
    assert uuid.UUID(made["id"]).version == 7
    assert made["name"] == called
    assert (made["addressing"], made["status"], made["egress"]) == ("unique", "active", False)
    assert made["limits"] == {"bits_per_second": 0, "packets_per_second": 0, "routers": 0}
    assert (made["routers"], made["bytes_received"]) == (0, 0)
    assert ipaddress.ip_network(made["subnet"]).prefixlen == 27
    assert api.get(f"/tenants/{made['id']}") == made
    api.delete(f"/tenants/{made['id']}")


def test_every_field_that_is_given_is_kept(make_tenant):
    tenant_id = str(uuid.uuid4())
    made = make_tenant(id=tenant_id.upper(), addressing="private", subnet="172.20.0.0/16", egress=True,
                       limits={"bits_per_second": 10**9, "packets_per_second": 10**5, "routers": 7})
    assert made["id"] == tenant_id
    assert (made["addressing"], made["subnet"], made["egress"]) == ("private", "172.20.0.0/16", True)
    assert made["limits"] == {"bits_per_second": 10**9, "packets_per_second": 10**5, "routers": 7}


def test_private_tenants_get_the_same_default_subnet(make_tenant):
    assert {make_tenant(addressing="private")["subnet"] for _ in range(3)} == {"10.100.0.0/16"}


def test_unique_tenants_never_overlap(make_tenant):
    blocks = [ipaddress.ip_network(make_tenant()["subnet"]) for _ in range(20)]
    assert all(not a.overlaps(b) for a in blocks for b in blocks if a is not b)
    assert all(block.subnet_of(ipaddress.ip_network("10.0.0.0/8")) for block in blocks)


def test_a_wish_within_the_pool_is_granted_once(api, make_tenant, name):
    assert make_tenant(subnet="10.77.0.0/20")["subnet"] == "10.77.0.0/20"
    api.refused(409, None, "POST", "/tenants", {"name": name(), "subnet": "10.77.8.0/22"}, field="subnet")


def test_an_id_is_used_once(api, tenant, name):
    api.refused(409, None, "POST", "/tenants", {"id": tenant["id"], "name": name()}, field="id")


def test_patch_changes_only_what_it_names(api, make_tenant, name):
    tenant = make_tenant(limits={"routers": 5, "bits_per_second": 8000})
    called = name("renamed")
    changed = api.patch(f"/tenants/{tenant['id']}", {"name": called})
    assert changed["name"] == called and changed["limits"] == tenant["limits"]
    changed = api.patch(f"/tenants/{tenant['id']}", {"limits": {"bits_per_second": 0}, "egress": True})
    assert changed["limits"] == {"bits_per_second": 0, "packets_per_second": 0, "routers": 5}
    assert changed["egress"] and changed["name"] == called
    assert changed["updated_at"] > tenant["updated_at"] and changed["created_at"] == tenant["created_at"]
    assert api.get(f"/tenants/{tenant['id']}") == changed
    assert api.patch(f"/tenants/{tenant['id']}", {})["name"] == called


def test_disable_and_enable_are_idempotent(api, tenant):
    path = f"/tenants/{tenant['id']}"
    for verb, status in (("disable", "disabled"), ("disable", "disabled"), ("enable", "active"), ("enable", "active")):
        assert api.post(f"{path}/{verb}")["status"] == status
        assert api.get(path)["status"] == status


def test_delete_is_final_and_takes_the_routers(api, make_tenant, make_router):
    tenant = make_tenant()
    router = make_router(tenant)
    assert api.get(f"/tenants/{tenant['id']}")["routers"] == 1
    assert api.delete(f"/tenants/{tenant['id']}") is None
    api.gone(f"/tenants/{tenant['id']}")
    api.gone(f"/routers/{router['id']}")
    api.gone(f"/tenants/{tenant['id']}/routers")
    api.refused(404, None, "DELETE", f"/tenants/{tenant['id']}")
    api.refused(404, None, "PATCH", f"/tenants/{tenant['id']}", {"name": "x"})
    api.refused(404, None, "POST", f"/tenants/{tenant['id']}/disable")
    api.refused(404, None, "POST", f"/tenants/{tenant['id']}/enable")
    # what it had is free again
    again = make_tenant(id=tenant["id"], subnet=tenant["subnet"])
    assert make_router(again, public_key=router["public_key"])["public_key"] == router["public_key"]


@pytest.mark.parametrize("subnet, addressing", [
    ("10.0.0.0/8", "private"),  # contains the hub
    ("10.100.0.0/31", "private"), ("10.0.0.0/7", "private"), ("fd00::/64", "private"), ("127.0.0.0/16", "private"),
    ("192.168.0.0/16", "unique"),  # outside the pool
    ("10.50.0.0/15", "unique"), ("10.50.0.0/31", "unique"),
])
def test_a_subnet_that_cannot_be_is_refused(api, name, subnet, addressing):
    api.refused(422, None, "POST", "/tenants", {"name": name(), "addressing": addressing, "subnet": subnet},
                field="subnet")


def test_router_limit_is_held(api, make_tenant, make_router, name):
    tenant = make_tenant(limits={"routers": 2})
    make_router(tenant)
    make_router(tenant)
    api.refused(409, None, "POST", f"/tenants/{tenant['id']}/routers", {"name": name()})
    assert api.get(f"/tenants/{tenant['id']}")["routers"] == 2


def test_shell_characters_in_a_name_are_only_characters(gateway, api, name):
    called = name("$(touch pwned) `id` ; rm -rf / | & > < ' \" \\ %s %n {{7*7}} ${x}")
    tenant = api.post("/tenants", {"name": called})
    router = api.post(f"/tenants/{tenant['id']}/routers", {"name": called})
    assert api.get("/tenants", name=called)["items"][0]["id"] == tenant["id"]
    assert called in router["config"]
    assert api.get(f"/routers/{router['id']}")["name"] == called
    assert not (gateway.folder / "pwned").exists()
    api.delete(f"/tenants/{tenant['id']}")
