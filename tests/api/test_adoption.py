"""Servers that exist: their peers made routers, and routers made a server again."""
import uuid

from harness.load import public_key


def peer(address, **fields):
    return {"public_key": public_key(), "allowed_ips": [f"{address}/32"], **fields}


def test_peers_become_routers_of_a_new_tenant(api, name):
    called = name("adopted")
    body = {"tenant": {"name": called}, "peers": [
        peer("10.200.0.0", name="first of a block", preshared_key=public_key()),
        peer("10.200.0.9", endpoint="192.0.2.9:4500")]}
    body["peers"][1]["allowed_ips"].append("172.30.9.0/24")
    assert api.post("/adoption", {**body, "dry_run": True})["imported"] == 2
    assert api.get("/tenants", name=called)["items"] == []
    done = api.post("/adoption", body)
    assert done["committed"] and done["tenant"]["routers"] == 2, done
    made = [api.get(f"/routers/{item['router_id']}") for item in done["items"]]
    assert [router["address"] for router in made] == ["10.200.0.0", "10.200.0.9"]
    assert made[0]["has_preshared_key"] and made[1]["lans"] == ["172.30.9.0/24"]
    assert made[1]["endpoint"] == "192.0.2.9:4500"
    again = api.post("/adoption", {**{k: v for k, v in body.items() if k != "tenant"}, "tenant_id": done["tenant"]["id"]})
    assert again["already_there"] == 2 and again["imported"] == 0
    api.delete(f"/tenants/{done['tenant']['id']}")


def test_a_conflict_is_an_item_and_stops_the_rest(api, name):
    body = {"tenant": {"name": name("conflict")}, "peers": [peer("10.201.0.2"), peer("192.0.2.4")]}
    done = api.post("/adoption", body)
    assert not done["committed"] and done["conflicts"] == 1 and done["tenant"] is None
    assert done["items"][1]["problem"]["type"] == "urn:sallyport:problem:address-outside-pool"
    skipped = api.post("/adoption", {**body, "skip_conflicts": True})
    assert skipped["committed"] and skipped["imported"] == 1
    api.delete(f"/tenants/{skipped['tenant']['id']}")


def test_what_cannot_be_adopted_is_refused(api):
    nobody = str(uuid.uuid4())
    new = {"tenant": {"name": "a"}}
    api.refused(404, "tenant-not-found", "POST", "/adoption", {"tenant_id": nobody, "peers": []})
    api.refused(422, "not-wireguard", "POST", "/adoption", {**new, "interface": "lo"}, "interface")
    api.refused(404, "no-interface", "POST", "/adoption", {**new, "interface": "nosuch0"}, "interface")
    api.refused(409, "gateway-key-differs", "POST", "/adoption", {**new, "peers": [], "server_public_key": public_key()})
    assert api.get("/tenants", name="a")["items"] == []


def test_export_has_the_secrets_and_only_active_unique_routers(api, make_tenant):
    tenant = make_tenant()
    made = api.post(f"/tenants/{tenant['id']}/routers", {"name": "roof", "preshared_key": "generate"})
    api.post(f"/tenants/{tenant['id']}/routers", {"name": "off"})
    off = api.get(f"/tenants/{tenant['id']}/routers?name=off")["items"][0]
    api.post(f"/routers/{off['id']}/disable")
    text = api.get(f"/export?tenant_id={tenant['id']}")
    assert f"PublicKey = {made['public_key']}\n" in text and "PresharedKey = " in text
    assert off["public_key"] not in text and "/ off" in text
    assert text.endswith("# End: 1 peers; left out: 1 disabled, 0 private, 0 unreadable\n")
    api.refused(404, "tenant-not-found", "GET", f"/export?tenant_id={uuid.uuid4()}")
