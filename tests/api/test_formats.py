"""The forms of a configuration over HTTP; tests/cli runs the scripts."""
import pytest
from contract import CONTRACT

FORMS = CONTRACT.document["components"]["schemas"]["ConfigFormat"]["enum"]


@pytest.mark.parametrize("form", FORMS)
def test_a_router_is_made_shown_and_given_new_keys_in_every_form(api, tenant, name, form):
    path = f"/tenants/{tenant['id']}/routers?format={form}"
    made = api.post(path, {"name": name("router"), "preshared_key": "generate"})
    is_picture = form == "qr"
    assert made["config"].startswith("<svg ") == is_picture
    assert is_picture or made["private_key"] in made["config"]
    status, headers, content = api.raw("GET", f"/routers/{made['id']}/config?format={form}")
    assert status == 200 and made["private_key"] not in content.decode()
    assert headers["Content-Type"].startswith("image/svg+xml" if is_picture else "text/plain")
    rotated = api.post(f"/routers/{made['id']}/rotate?format={form}", {})
    assert is_picture or rotated["private_key"] in rotated["config"] != made["config"]


def test_the_form_is_part_of_what_a_key_stands_for(api, tenant, name):
    body, key = {"name": name("router")}, {"Idempotency-Key": name("key")}
    path = f"/tenants/{tenant['id']}/routers"
    status, _, made = api.with_headers("POST", f"{path}?format=openwrt", body, key)
    assert status == 201
    again = api.with_headers("POST", f"{path}?format=openwrt", body, key)
    assert again[2] == made and again[1]["Idempotency-Replayed"] == "true"
    api.refused(422, "idempotency-key-reused", "POST", path, body, headers=key)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "qr"])
@pytest.mark.parametrize(("family", "has", "lacks"), [("ipv4", "address", "address6"), ("ipv6", "address6", "address")])
def test_a_configuration_may_speak_of_one_family_alone(api, tenant, name, form, family, has, lacks):
    """For routers without IPv6, and for those that want no other."""
    other = api.post(f"/tenants/{tenant['id']}/routers", {"name": name("other"), "lans": ["2001:db8:77::/64"]})
    path = f"/tenants/{tenant['id']}/routers?format={form}"
    made = api.post(f"{path}&family={family}", {"name": name("router")})
    again = api.raw("GET", f"/routers/{made['id']}/config?format={form}&family={family}")[2].decode()
    rotated = api.post(f"/routers/{made['id']}/rotate?format={form}&family={family}", {})
    gateway = api.get("/status")["gateway"]
    wide = {"address": f"{gateway['hub_address']}/32", "address6": gateway["ula"]}
    for config in made["config"], again, rotated["config"]:
        assert made[has] in config and made[lacks] not in config
        assert wide[has] in config and wide[lacks] not in config
        assert ("2001:db8:77::/64" in config) == (family == "ipv6")
    both = api.raw("GET", f"/routers/{made['id']}/config?format={form}&family=both")[2].decode()
    assert both == api.raw("GET", f"/routers/{made['id']}/config?format={form}")[2].decode()
    assert made[has] in both and made[lacks] in both
    api.refused(422, None, "GET", f"/routers/{made['id']}/config?family=ipx", field="family")
    assert api.raw("DELETE", f"/routers/{other['id']}")[0] == 204


def test_an_unknown_form_makes_nothing(api, tenant):
    path = f"/tenants/{tenant['id']}/routers"
    problem = api.refused(422, "invalid-value", "POST", f"{path}?format=papyrus", {"name": "x"}, field="format")
    assert all(form in problem["detail"] for form in FORMS)
    assert api.get(path)["items"] == []


def test_what_does_not_fit_into_a_code_is_refused_by_name(api, make_tenant):
    tenant = make_tenant(addressing="private")
    path = f"/tenants/{tenant['id']}/routers"
    first = api.post(path, {"name": "first"})
    for router in range(2):
        lans = [f"2001:db8:aaaa:bbbb:cccc:d{router}{i:02x}:ffff:fff0/124" for i in range(32)]
        api.post(path, {"name": f"router {router}", "lans": lans})
    assert api.raw("GET", f"/routers/{first['id']}/config?format=wg-quick")[0] == 200
    api.refused(422, "does-not-fit", "GET", f"/routers/{first['id']}/config?format=qr", field="format")
    made = api.post(f"{path}?format=qr", {"name": "last"})
    assert made["config"] == "" and made["private_key"], "the key is not lost"
