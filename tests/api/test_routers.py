"""Routers: made, shown, changed, silenced, given new keys, removed."""
import ipaddress
import subprocess
import uuid

import pytest
from harness.client import Config


def public_of(private):
    return subprocess.run(["wg", "pubkey"], input=private + "\n", capture_output=True, text=True, check=True).stdout.strip()


def test_a_key_pair_is_made_and_its_private_half_shown_once(api, tenant, name):
    status, headers, made = api.with_headers("POST", f"/tenants/{tenant['id']}/routers", {"name": name()})
    assert status == 201
    assert headers["Location"] == f"/v1/routers/{made['id']}"
    assert public_of(made["private_key"]) == made["public_key"]
    assert f"PrivateKey = {made['private_key']}" in made["config"]
    assert (made["status"], made["connected"], made["last_handshake_at"]) == ("pending", False, None)
    assert uuid.UUID(made["id"]).version == 7
    shown = api.get(f"/routers/{made['id']}")
    assert shown == {field: value for field, value in made.items() if field not in ("private_key", "config")}
    config = api.get(f"/routers/{made['id']}/config")
    for text in (str(shown), config, str(api.get(f"/tenants/{tenant['id']}/routers"))):
        assert made["private_key"] not in text


def test_a_router_may_bring_its_own_key(api, make_router, tenant, key):
    public = key()
    made = make_router(tenant, public_key=public)
    assert made["public_key"] == public
    assert "private_key" not in made
    assert "PrivateKey = (" in made["config"]


def test_the_configuration_is_what_wg_reads(api, tenant, make_router):
    made = make_router(tenant, preshared_key="generate")
    config = Config(made["config"])
    gateway = api.get("/status")["gateway"]
    assert f"PublicKey = {gateway['public_key']}" in made["config"]
    assert "Endpoint = vpn.example.com:51820" in made["config"]
    assert "PersistentKeepalive = 25" in made["config"]
    assert config.addresses == [f"{made['address']}/32", f"{made['address6']}/128"]
    assert "PresharedKey = " in config.plain and made["has_preshared_key"]
    assert config.mtu == gateway["mtu"]
    # nothing of the provider's that has an address in the pool's space is drawn into the tunnel
    assert config.allowed == sorted([f"{gateway['hub_address']}/32", tenant["subnet"]],
                                    key=ipaddress.ip_network) + [gateway["ula"]]
    # for people with the rights, again, but for the private key
    again = api.get(f"/routers/{made['id']}/config?format=wg-quick")
    assert made["private_key"] not in again
    assert [line for line in again.splitlines() if line.startswith("PresharedKey")] == \
        [line for line in made["config"].splitlines() if line.startswith("PresharedKey")]


def test_a_unique_router_has_one_address_everywhere(tenant, make_router):
    made = make_router(tenant)
    assert made["address"] == made["hub_address"]
    assert ipaddress.ip_address(made["address"]) in ipaddress.ip_network(tenant["subnet"])


def test_private_routers_share_addresses_but_no_hub_addresses(make_tenant, make_router):
    routers = [make_router(make_tenant(addressing="private")) for _ in range(5)]
    assert len({router["address"] for router in routers}) == 1
    assert len({router["hub_address"] for router in routers}) == 5
    assert len({router["address6"] for router in routers}) == 5
    assert ipaddress.ip_address(routers[0]["address"]) in ipaddress.ip_network("10.100.0.0/16")


def test_a_wished_address_is_granted_once(api, private_tenant, make_router, name):
    assert make_router(private_tenant, address="10.100.7.7")["address"] == "10.100.7.7"
    path = f"/tenants/{private_tenant['id']}/routers"
    api.refused(409, None, "POST", path, {"name": name(), "address": "10.100.7.7"}, field="address")
    for wrong in ("10.101.0.1", "fd00::1", "0.0.0.0"):
        api.refused(422, None, "POST", path, {"name": name(), "address": wrong}, field="address")
    for ends in ("10.100.0.0", "10.100.255.255"):
        api.refused(409, None, "POST", path, {"name": name(), "address": ends}, field="address")


def test_lans_do_not_overlap_within_a_space(api, make_tenant, make_router, name):
    one, other = make_tenant(addressing="private"), make_tenant(addressing="private")
    make_router(one, lans=["192.168.88.0/24", "fd77::/64"])
    make_router(other, lans=["192.168.88.0/24"])  # another space
    path = f"/tenants/{one['id']}/routers"
    api.refused(409, None, "POST", path, {"name": name(), "lans": ["172.16.1.0/24", "192.168.0.0/16"]}, field="lans[1]")
    api.refused(422, None, "POST", path, {"name": name(), "lans": ["192.168.5.0/24", "192.168.5.128/25"]}, field="lans[1]")
    for wrong in ("0.0.0.0/0", "127.0.0.0/8", "224.0.0.0/4"):
        api.refused(422, None, "POST", path, {"name": name(), "lans": [wrong]}, field="lans[0]")
    api.refused(422, None, "POST", path, {"name": name(), "lans": [f"192.168.{n}.0/24" for n in range(33)]}, field="lans")


def test_unique_tenants_share_one_space_for_lans(api, make_tenant, make_router, name):
    one, other = make_tenant(), make_tenant()
    make_router(one, lans=["192.168.200.0/24"])
    api.refused(409, None, "POST", f"/tenants/{other['id']}/routers", {"name": name(), "lans": ["192.168.200.0/25"]},
                field="lans[0]")


def test_the_lans_of_the_others_are_in_the_configuration(api, private_tenant, make_router):
    make_router(private_tenant, lans=["192.168.11.0/24"])
    made = make_router(private_tenant, lans=["192.168.12.0/24"])
    allowed = Config(made["config"]).allowed
    assert "192.168.11.0/24" in allowed and "192.168.12.0/24" not in allowed and "10.100.0.0/16" in allowed


def test_all_lans_are_in_the_configuration_and_neighbours_are_one(api, private_tenant, make_router):
    """Whoever reads the prefixes has every LAN of the others and no address that is none's."""
    for number in range(0, 10):
        make_router(private_tenant, lans=[f"192.168.{number * 30 + lan}.0/25" for lan in range(0, 30, 2) if number * 30 + lan < 256])
    for number in range(4):
        make_router(private_tenant, lans=[f"172.20.{number}.0/24"])
    mine = make_router(private_tenant, lans=["172.20.4.0/24"])
    config = api.get(f"/routers/{mine['id']}/config")
    allowed = [ipaddress.ip_network(prefix) for prefix in Config(config).allowed]
    assert {str(prefix) for prefix in allowed} >= {f"192.168.{third}.0/25" for third in range(0, 256, 2)} | {"172.20.0.0/22"}
    assert not any(prefix.overlaps(ipaddress.ip_network("172.20.4.0/24")) for prefix in allowed)
    gateway = api.get("/status")["gateway"]
    assert len(allowed) == 128 + 1 + len([gateway["hub_address"], private_tenant["subnet"], gateway["ula"]])


def test_a_tenant_that_outgrew_its_first_block_has_all_of_them(api, make_tenant):
    tenant = make_tenant()
    made = api.post(f"/tenants/{tenant['id']}/routers/bulk", {"routers": [{"name": f"r{n}"} for n in range(300)]})
    routers = [item["router"] for item in made["items"]]
    for router in routers[0], routers[299]:
        allowed = [ipaddress.ip_network(prefix) for prefix in Config(api.get(f"/routers/{router['id']}/config")).allowed]
        for other in routers:
            assert any(ipaddress.ip_address(other["address"]) in prefix for prefix in allowed), other["address"]
        assert ipaddress.ip_network("10.0.0.0/8") not in allowed


def test_a_tenant_made_with_its_routers_has_all_their_addresses(api, name):
    made = api.post("/tenants/bulk", {"tenants": [{"name": name(), "routers": [{"name": f"r{n}"} for n in range(300)]}]})
    routers = made["items"][0]["routers"]
    allowed = [ipaddress.ip_network(prefix) for prefix in Config(routers[0]["config"]).allowed]
    for other in routers[1:]:
        assert any(ipaddress.ip_address(other["address"]) in prefix for prefix in allowed), other["address"]


def test_a_key_belongs_to_one_router(api, router, make_tenant, name):
    other = make_tenant()
    api.refused(409, None, "POST", f"/tenants/{other['id']}/routers", {"name": name(), "public_key": router["public_key"]},
                field="public_key")


@pytest.mark.parametrize("wrong", [
    "", "x", "A" * 44, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",  # zeros: low order and none
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",  # one: low order
    "4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",  # order 8
    "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=",  # not canonical
    "c53201039adba14be71f886da1d8dbe9eebded08cb111b75340078999aa9f038",  # hexadecimal
])
def test_a_key_that_is_none_is_refused(api, tenant, name, wrong):
    api.refused(422, None, "POST", f"/tenants/{tenant['id']}/routers", {"name": name(), "public_key": wrong},
                field="public_key")


def test_the_gateways_own_key_is_refused(api, tenant, name):
    api.refused(422, None, "POST", f"/tenants/{tenant['id']}/routers",
                {"name": name(), "public_key": api.get("/status")["gateway"]["public_key"]}, field="public_key")


def test_patch_changes_name_and_lans(api, private_tenant, make_router, name):
    router = make_router(private_tenant, lans=["192.168.1.0/24"])
    path = f"/routers/{router['id']}"
    called = name("moved")
    assert api.patch(path, {"name": called})["lans"] == ["192.168.1.0/24"]
    changed = api.patch(path, {"lans": ["192.168.2.0/24", "192.168.1.0/24"]})
    assert changed["name"] == called and set(changed["lans"]) == {"192.168.1.0/24", "192.168.2.0/24"}
    assert api.patch(path, {"lans": []})["lans"] == []
    assert api.get(path)["lans"] == []
    api.refused(422, "wrong-type", "PATCH", path, {"lans": None}, field="lans")
    api.refused(422, "unknown-field", "PATCH", path, {"public_key": router["public_key"]}, field="public_key")


def test_disable_and_enable(api, router):
    path = f"/routers/{router['id']}"
    assert api.post(f"{path}/disable")["status"] == "disabled"
    assert api.post(f"{path}/disable")["status"] == "disabled"
    assert api.post(f"{path}/enable")["status"] == "pending"
    assert api.get(path)["status"] == "pending"


def test_rotate_makes_new_keys(api, router, key):
    path = f"/routers/{router['id']}"
    made = api.post(f"{path}/rotate")
    assert made["public_key"] != router["public_key"] and public_of(made["private_key"]) == made["public_key"]
    assert (made["id"], made["address"], made["has_preshared_key"]) == (router["id"], router["address"], False)
    public = key()
    made = api.post(f"{path}/rotate", {"public_key": public, "preshared_key": "generate"})
    assert made["public_key"] == public and "private_key" not in made and made["has_preshared_key"]
    api.refused(422, "unknown-field", "POST", f"{path}/rotate", {"name": "x"}, field="name")


def test_delete_frees_key_and_address(api, private_tenant, make_router):
    router = make_router(private_tenant, address="10.100.9.9", lans=["192.168.9.0/24"])
    path = f"/routers/{router['id']}"
    api.delete(path)
    api.gone(path)
    api.gone(f"{path}/config")
    for method, verb in (("DELETE", ""), ("POST", "/disable"), ("POST", "/enable"), ("POST", "/rotate")):
        api.refused(404, None, method, path + verb)
    again = make_router(private_tenant, id=router["id"], address="10.100.9.9", lans=["192.168.9.0/24"],
                        public_key=router["public_key"])
    assert again["address"] == "10.100.9.9"


def test_a_preshared_key_may_be_brought(api, tenant, make_router, key):
    wished = key()
    made = make_router(tenant, preshared_key=wished)
    assert made["has_preshared_key"] and f"PresharedKey = {wished}" in made["config"]
    assert wished not in str(api.get(f"/routers/{made['id']}"))


def test_an_unknown_format_is_refused_by_name(api, router):
    problem = api.refused(422, "invalid-value", "GET", f"/routers/{router['id']}/config?format=ini", field="format")
    assert "wg-quick" in problem["detail"]
