"""Existing WireGuard servers: their files, their live interfaces.

      router roof ---+                          +--- router roof
                     |                          |
    server: wireguard-go, key K, 51820   ->   server: sallyportd and its engine, key K, 51820
                     |                          |
    router cellar ---+                          +--- router cellar
"""
import configparser
import subprocess
import time

import pytest

from conftest import BUILD, Cli
from harness.client import Client, Config, key_pair
from harness.gateway import Gateway
from harness.load import public_key
from harness.netns import Network


def server_conf(peers, interface="[Interface]\nAddress = 10.0.0.1/24\nListenPort = 51820\n"):
    return interface + "".join(f"\n[Peer]\n{peer}\n" for peer in peers)


def peer(address, *more, key=None):
    return f"PublicKey = {key or public_key()}\nAllowedIPs = {address}\n" + "\n".join(more)


@pytest.fixture
def file(tmp_path):
    def write(text, name="wg0.conf"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)
    return write


def routers(cli, tenant):
    return {item["name"]: item for item in cli("router", "list", tenant, "--json").json["items"]}


def test_peers_become_routers_with_their_keys_and_addresses(cli, file, gateway):
    keys = [public_key() for _ in range(3)]
    path = file(server_conf([
        f"# roof\nPublicKey = {keys[0]}\nAllowedIPs = 10.0.0.2/32",
        peer("10.0.0.3/32, 192.168.7.0/24,192.168.8.0/25", f"PresharedKey = {public_key()}", key=keys[1]),
        peer("10.0.0.31/32", key=keys[2])]))
    plan = cli("import", path, "--tenant", "Acme", "--dry-run")
    assert plan.status == 0 and "3 would be imported" in plan.out and "roof" in plan.out, plan
    assert cli("tenant", "list", "--names").out == ""
    done = cli("import", path, "--tenant", "Acme")
    assert done.status == 0 and done.out.startswith("3 imported, 0 there already, 0 left out"), done
    made = routers(cli, "Acme")
    assert made["roof"]["address"] == "10.0.0.2" and made["roof"]["public_key"] == keys[0]
    assert made["10.0.0.3"]["lans"] == ["192.168.7.0/24", "192.168.8.0/25"] and made["10.0.0.3"]["has_preshared_key"]
    # the last address of the hub's own block, which nobody else would ever get
    assert made["10.0.0.31"]["public_key"] == keys[2]
    gateway.wait_in_sync()
    again = cli("import", path, "--tenant", "Acme")
    assert again.status == 0 and again.out.startswith("0 imported, 3 there already"), again
    more = cli("router", "add", "Acme", "new")
    assert more.status == 0 and cli("router", "show", "Acme/new", "--json").json["address"] not in (
        "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.31")


def test_a_conflict_leaves_out_its_peer_alone(cli, file, gateway):
    cli("tenant", "add", "Other")
    taken = cli("router", "add", "Other", "roof", "--lan", "192.168.50.0/24", "--json").json
    gateway_key = gateway.status()["gateway"]["public_key"]
    twin = public_key()  # of which WireGuard keeps the second [Peer]
    path = file(server_conf([
        peer("10.0.0.2/32"),
        peer("10.0.0.3/32", key=taken["public_key"]),
        peer(f"{taken['address']}/32"),
        peer("10.0.0.4/32, 192.168.50.128/25"),
        peer("10.0.0.5/32, 0.0.0.0/0"),
        peer("192.168.77.0/24"),
        peer("10.0.0.6/32", key=gateway_key),
        peer("10.0.0.7/32, " + ", ".join(f"172.16.{n}.0/24" for n in range(33))),
        peer("10.0.0.8/32", key=twin),
        peer("10.0.0.9/32", key=twin),
        peer("10.0.0.8/32"),
        peer("172.31.0.9/32"),
        peer("10.0.0.1/32"),
    ]))
    plan = cli("import", path, "--tenant", "Acme", "--dry-run", "--json")
    assert plan.status == 1, plan
    assert [item.get("problem") and item["problem"]["type"].rpartition(":")[2] for item in plan.json["items"]] == [
        None, "duplicate-public-key", "address-taken", "lan-overlap", "default-route", "no-address", "gateways-own-key",
        "too-many-lans", None, None, "address-outside-pool", "hub-address"]
    assert "wg0.conf:" in plan.err and "this key already" in plan.err
    plan = cli("import", path, "--tenant", "Acme", "--dry-run")
    lines = plan.out.splitlines()
    assert len(lines) == 1 + 12 + 1 and sum(line.startswith("CONFLICT") for line in lines) == 9
    # what to do about each kind
    assert all(part in plan.err for part in ("--drop-default-routes", "1 with no address", "router list --public-key",
                                             "take it out", "hub_address")), plan
    assert "line 10: " in lines[2]
    assert cli("tenant", "list", "--names").out == "Other\n"
    done = cli("import", path, "--tenant", "Acme")
    assert done.status == 1 and f"{path}:10: " in done.err and "run the same again" in done.err, done
    assert done.out.startswith("3 imported, 0 there already, 9 left out"), done
    assert sorted(routers(cli, "Acme")) == ["10.0.0.2", "10.0.0.8", "10.0.0.9"]
    again = cli("import", path, "--tenant", "Acme")
    assert again.status == 1 and again.out.startswith("0 imported, 3 there already, 9 left out"), again


def test_addresses_that_do_not_fit_name_the_lines_to_set(cli, file):
    path = file(server_conf([peer("172.29.4.2/32")], "[Interface]\nAddress = 172.29.0.1/16\n"))
    plan = cli("import", path, "--tenant", "Acme", "--dry-run")
    assert plan.status == 1 and "  pool = 172.29.0.0/16\n  hub_address = 172.29.0.1\n" in plan.err, plan
    private = cli("import", path, "--tenant", "Acme", "--addressing", "private")
    assert private.status == 0 and routers(cli, "Acme")["172.29.4.2"]["address"] == "172.29.4.2", private


def test_another_key_is_refused_with_the_lines_that_mend_it(cli, file):
    private, public = key_pair()
    path = file(server_conf([peer("10.0.0.2/32")], f"[Interface]\nPrivateKey = {private}\nAddress = 10.0.0.1/24\n"))
    refused = cli("import", path, "--tenant", "Acme", "--dry-run")
    assert refused.status == 1 and public in refused.err and f"sallyport init --key-only --from {path}\n" in refused.err, refused
    assert private not in refused.err + refused.out
    assert cli("import", path, "--tenant", "Acme", "--other-key").status == 0
    again = cli("import", path, "--tenant", "Acme")
    assert again.status == 1 and "--other-key" in again.err and "--key-only" not in again.err, again


LINUXSERVER = """[Interface]
Address = 10.13.13.1
ListenPort = 51820
PrivateKey = {private}
PostUp = iptables -A FORWARD -i %i -j ACCEPT; iptables -t nat -A POSTROUTING -o eth+ -j MASQUERADE

[Peer]
# peer_phone
PublicKey = {a}
PresharedKey = {psk}
AllowedIPs = 10.13.13.2/32

[Peer]
# peer_site
PublicKey = {b}
AllowedIPs = 10.13.13.3/32,192.168.1.0/24
"""

WG_EASY = """
# Note: Do not edit this file directly.
# Your changes will be overwritten!

# Server
[Interface]
PrivateKey = {private}
Address = 10.8.0.1/24
ListenPort = 51820
PostUp =  iptables -t nat -A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE;


# Client: phone (5f5a1b1e-1111-4222-8333-444455556666)
[Peer]
PublicKey = {a}
PresharedKey = {psk}
AllowedIPs = 10.8.0.2/32

# Client: site (6f5a1b1e-1111-4222-8333-444455556666)
[Peer]
PublicKey = {b}
AllowedIPs = 10.8.0.3/32
"""


@pytest.mark.parametrize("text", [LINUXSERVER, WG_EASY], ids=["linuxserver", "wg-easy"])
def test_files_of_containers_name_their_peers(cli, file, text):
    path = file(text.format(private=key_pair()[0], a=public_key(), b=public_key(), psk=public_key()))
    done = cli("import", path, "--tenant", "Acme", "--other-key")
    assert done.status == 0 and sorted(routers(cli, "Acme")) == ["phone", "site"], done


@pytest.mark.parametrize("text, said", [
    ("[Interface]\n[Peer]\nPublicKey = nonsense\n", ":line 3: PublicKey"),
    ("[Interface]\n\n[Peer]\nAllowedIPs = 10.0.0.2/32\n", "line 3: this [Peer] has no PublicKey"),
    ("[Peer]\nPublicKey\n", "line 2: is neither"),
    ("Address = 10.0.0.1/24\n", "line 1: \"Address\" stands before any section"),
    ("[Pear]\n", "line 1: there is no section [Pear]"),
    ("[Peer]\nAllowedIPs = 10.0.0.300/32\n", "line 2: AllowedIPs"),
    ("[Interface]\nListenPort = 70000\n", "line 2: ListenPort"),
    ("[Interface]\nAddress = ten\n", "line 2: Address"),
    ("[Interface]\n\0\n", "line 2: holds a NUL"),
    ("[Interface]\nAddress = 10.0.0.1/24\n", "has no [Peer]")])
def test_what_is_no_configuration_is_named_by_line(cli, file, text, said):
    refused = cli("import", file(text), "--tenant", "Acme")
    assert refused.status == 1 and said.lstrip(":") in refused.err, refused


def test_options_of_the_other_kind_of_import_are_refused(cli, file):
    conf, rows = file(server_conf([peer("10.0.0.2/32")])), file("{}\n", "rows.jsonl")
    for arguments in ((conf,), (conf, "--tenant", "a", "--check"), (rows, "--tenant", "a"), (), ("--tenant", "a"),
                      (conf, "--tenant", "a", "--adopt")):
        assert cli("import", *arguments).status == 2, arguments


def test_an_interface_that_is_none_is_refused(cli):
    missing = cli("import", "--interface", "nosuch0", "--tenant", "Acme")
    assert missing.status == 1 and "no interface nosuch0" in missing.err, missing
    loopback = cli("import", "--interface", "lo", "--tenant", "Acme", "--dry-run")
    assert loopback.status == 1 and "no WireGuard interface" in loopback.err, loopback


class Server:
    """A stock WireGuard server (userspace) with its routers, in a network of its own."""

    def __init__(self, names=("roof", "cellar"), running=True):
        self.network = Network("spa")
        try:
            self.host = self.network.host("server")
            self.host.sysctl("net.ipv4.ip_forward", 1)
            self.private, self.public = key_pair()
            self.keys = {name: key_pair() for name in names}
            self.preshared = public_key()
            self.addresses = {name: f"10.66.0.{n + 2}" for n, name in enumerate(names)}
            self.conf = (f"[Interface]\nAddress = 10.66.0.1/24\nListenPort = 51820\nPrivateKey = {self.private}\n" +
                         "".join(f"\n# Client: {name}\n[Peer]\nPublicKey = {self.keys[name][1]}\n"
                                 f"PresharedKey = {self.preshared}\nAllowedIPs = {self.addresses[name]}/32\n"
                                 for name in names))
            self.server = Client(self.host, self.conf, implementation="wireguard-go")
            if running:
                self.server.up()
            self.interface = self.server.interface
            self.routers = {}
            for name in names:
                text = (f"[Interface]\nPrivateKey = {self.keys[name][0]}\nAddress = {self.addresses[name]}/32\n[Peer]\n"
                        f"PublicKey = {self.public}\nPresharedKey = {self.preshared}\nAllowedIPs = 10.66.0.0/24\n"
                        f"Endpoint = {self.host.address}:51820\nPersistentKeepalive = 1\n")
                self.routers[name] = Client(self.network.host(name), text, implementation="wireguard-go").up()
        except BaseException:
            self.network.close()
            raise

    def ping(self, namespace, address, within=10):
        until = time.monotonic() + within
        while time.monotonic() < until:
            if subprocess.run(namespace.command("ping", "-c", "1", "-W", "1", "-q", address), capture_output=True,
                              check=False).returncode == 0:
                return True
        return False

    def works(self):
        """The hub reaches every router and is reached by it, and routers reach each other."""
        (one, first), (other, second) = list(self.routers.items())
        return all((self.ping(self.host, self.addresses[one]), self.ping(self.host, self.addresses[other]),
                    self.ping(first.namespace, "10.66.0.1"), self.ping(first.namespace, self.addresses[other]),
                    self.ping(second.namespace, self.addresses[one])))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in [*self.routers.values(), *([self.server] if self.server.process else [])]:
            client.close()
        self.network.close()


class InHost(Cli):
    """The program within a namespace."""

    def __init__(self, namespace, socket, folder):
        super().__init__(socket, folder)
        self.namespace = namespace

    def __call__(self, *arguments, **options):
        with self.namespace.inside():
            return super().__call__(*arguments, **options)


def settings_of(config, extra=None):
    """What `init` wrote, as the settings of a Gateway."""
    parsed = configparser.ConfigParser()
    parsed.read(config)
    settings = {section: dict(parsed[section]) for section in parsed.sections()}
    for section, keys in (extra or {}).items():
        settings.setdefault(section, {}).update(keys)
    return settings


def test_a_live_server_is_adopted_and_its_routers_go_on(tmp_path):
    state, config = tmp_path / "state", tmp_path / "sallyport.conf"
    with Server() as server:
        cli = InHost(server.host, tmp_path / "gateway" / "api.sock", tmp_path)
        assert server.works()
        done = cli("init", "--from-interface", server.interface, "--endpoint", server.host.address, "--config",
                   str(config), "--state-dir", str(state))
        assert done.status == 0 and f"import --interface {server.interface}" in done.out, done
        assert (state / "server.key").read_text().strip() == server.private
        assert (state / "server.key").stat().st_mode & 0o777 == 0o600 and server.private not in done.out + done.err
        settings = settings_of(config)
        assert settings["gateway"]["pool"] == "10.66.0.0/24" and settings["gateway"]["hub_address"] == "10.66.0.1"
        assert settings["gateway"]["interface"] == server.interface
        with Gateway(BUILD, tmp_path / "gateway", server.host, settings) as gateway:
            gateway.interface = server.interface
            gateway.start(wait=False)
            until = time.monotonic() + 10
            while not gateway.socket.exists() and time.monotonic() < until:
                time.sleep(0.02)
            # until it is adopted the interface is left alone
            assert server.works()
            plan = cli("import", "--interface", server.interface, "--tenant", "Acme", "--adopt", "--dry-run", "--json")
            assert plan.status == 0 and plan.json["imported"] == 2 and plan.json["interface_kind"] == "userspace", plan
            names = tmp_path / "wg0.conf"
            names.write_text(server.conf)
            done = cli("import", str(names), "--interface", server.interface, "--tenant", "Acme", "--adopt")
            assert done.status == 0 and "is the gateway's now" in done.out, done
            gateway.wait_in_sync()
            assert gateway.engine_pid() and server.server.process.wait(5) is not None
            made = routers(cli, "Acme")
            assert {name: item["address"] for name, item in made.items()} == server.addresses
            assert all(item["has_preshared_key"] and item["endpoint"] for item in made.values())
            # nothing was changed on any router
            assert server.works()
            again = cli("import", "--interface", server.interface, "--tenant", "Acme", "--adopt")
            assert again.status == 0 and again.out.startswith("0 imported, 2 there already"), again


def test_a_server_is_adopted_from_its_file(tmp_path):
    state, config, file = tmp_path / "state", tmp_path / "sallyport.conf", tmp_path / "wg0.conf"
    with Server(running=False) as server:
        file.write_text(server.conf)
        cli = InHost(server.host, tmp_path / "gateway" / "api.sock", tmp_path)
        assert cli("init", "--from", str(file), "--endpoint", server.host.address, "--config", str(config),
                   "--state-dir", str(state), "--interface", server.interface).status == 0
        with Gateway(BUILD, tmp_path / "gateway", server.host, settings_of(config)) as gateway:
            gateway.interface = server.interface
            gateway.start()
            done = cli("import", str(file), "--tenant", "Acme")
            assert done.status == 0 and sorted(routers(cli, "Acme")) == ["cellar", "roof"], done
            for name, router in server.routers.items():
                assert server.ping(router.namespace, "10.66.0.1"), name


def test_a_server_with_another_key_port_or_name_is_not_adopted(tmp_path):
    with Server() as server:
        settings = {"gateway": {"endpoint": server.host.address, "listen_port": 51821, "pool": "10.66.0.0/24",
                                "hub_address": "10.66.0.1"}}
        with Gateway(BUILD, tmp_path / "gateway", server.host, settings) as gateway:
            cli = InHost(server.host, gateway.socket, tmp_path)
            gateway.start()
            arguments = ("import", "--interface", server.interface, "--tenant", "Acme")
            other_key = cli(*arguments)
            assert other_key.status == 1 and f"init --key-only --from-interface {server.interface}\n" in other_key.err, other_key
            other_name = cli(*arguments, "--adopt", "--other-key")
            assert other_name.status == 1 and f"interface = {server.interface}" in other_name.err, other_name
            gateway.end()
            gateway.end_engine()
            (tmp_path / "gateway" / "server.key").write_text(server.private + "\n")
            gateway.settings["gateway"]["interface"] = server.interface
            gateway.start(wait=False)
            until = time.monotonic() + 10
            while not gateway.socket.exists() and time.monotonic() < until:
                time.sleep(0.02)
            other_port = cli(*arguments, "--adopt")
            assert other_port.status == 1 and "listen_port = 51820" in other_port.err, other_port
            assert cli("tenant", "list", "--names").out == "" and server.works()


def test_init_takes_nothing_over_that_is_there(tmp_path, alone, file):
    private, state = key_pair()[0], tmp_path / "state"
    conf = file(f"[Interface]\nAddress = fd00::1/64, 10.9.8.1\nPrivateKey = {private}\nListenPort = 4500\nMTU = 1400\n"
                f"[Peer]\nPublicKey = {public_key()}\nAllowedIPs = 10.9.200.4/32\n", "vpn.conf")
    arguments = ("init", "--from", conf, "--endpoint", "vpn.example.com", "--state-dir", str(state), "--config")
    done = alone(*arguments, str(tmp_path / "one.conf"))
    settings = settings_of(tmp_path / "one.conf")["gateway"]
    assert done.status == 0 and "IPv6" in done.out, done
    assert (settings["interface"], settings["listen_port"], settings["mtu"]) == ("vpn", "4500", "1400")
    assert (settings["pool"], settings["hub_address"]) == ("10.9.0.0/16", "10.9.8.1")
    assert alone(*arguments, str(tmp_path / "two.conf")).status == 0  # the same key
    (state / "server.key").write_text(key_pair()[0] + "\n")
    refused = alone(*arguments, str(tmp_path / "three.conf"))
    assert refused.status == 1 and "server.key" in refused.err and not (tmp_path / "three.conf").exists(), refused
    narrow = alone(*arguments, str(tmp_path / "four.conf"), "--pool", "10.77.0.0/16")
    assert narrow.status == 1 and "10.9.8.1" in narrow.err, narrow
    keyless = alone("init", "--from", file("[Interface]\nAddress = 10.9.8.1/24\n"), "--endpoint", "a", "--config",
                    str(tmp_path / "five.conf"))
    assert keyless.status == 1 and "private key" in keyless.err, keyless


# --- the way out ---


def test_what_is_exported_is_a_server_to_plain_wireguard(cli, gateway, tmp_path):
    cli("tenant", "add", "Acme")
    cli("tenant", "add", "Quiet")
    cli("tenant", "add", "Own", "--addressing", "private")
    made = cli("router", "add", "Acme", "roof", "--preshared-key", "generate", "--lan", "192.168.5.0/24")
    cli("router", "add", "Quiet", "still")
    cli("tenant", "disable", "Quiet")
    target = tmp_path / "out.conf"
    alone = cli("export", "--tenant", "Acme")
    assert alone.status == 0 and "Name = roof" in alone.out and "private key is not part" in alone.err, alone
    done = cli("export", "--private-key-file", str(gateway.folder / "server.key"), "--output", str(target))
    text = target.read_text()
    assert done.status == 0 and target.stat().st_mode & 0o777 == 0o600 and "Left out, since it is disabled" in text, done
    assert "# End: 1 peers; left out: 1 disabled, 0 private, 0 unreadable" in text
    config = Config(made.out)
    with Network("spx") as network:
        host, far = network.host("server"), network.host("router")
        # the endpoint of the test's gateway is another; only where the router dials is changed
        router_text = made.out.replace("vpn.example.com", host.address)
        with Client(host, text, implementation="wireguard-go") as server:
            server.namespace.ip("addr", "add", "10.0.0.1/8", "dev", server.interface)
            with Client(far, router_text, implementation="wireguard-go"):
                assert subprocess.run(far.command("ping", "-c", "3", "-W", "5", "10.0.0.1"), capture_output=True,
                                      check=False).returncode == 0
                assert subprocess.run(host.command("ping", "-c", "1", "-W", "5", config.addresses[0].split("/")[0]),
                                      capture_output=True, check=False).returncode == 0
            keyless = subprocess.run(host.command("wg", "setconf", server.interface, "/dev/stdin"), input=alone.out,
                                     text=True, capture_output=True, check=False)
            assert keyless.returncode != 0 and "Key is not the correct length" in keyless.stderr
            assert server.wg("show", server.interface, "private-key").strip() == (
                gateway.folder / "server.key").read_text().strip()


def test_private_tenants_cannot_be_exported_and_it_says_so(cli):
    cli("tenant", "add", "Own", "--addressing", "private")
    cli("router", "add", "Own", "roof")
    done = cli("export")
    assert done.status == 1 and "private addressing" in done.err and "Left out, since its tenant's" in done.out, done
    assert "[Peer]" not in done.out
    counted = cli("export", "--json")
    assert counted.status == 1 and counted.json["private"] == 1 and counted.json["peers"] == 0


def test_an_export_is_imported_again(cli, tmp_path):
    cli("tenant", "add", "Acme")
    for name in ("roof", "cellar"):
        cli("router", "add", "Acme", name, "--lan", f"192.168.{len(name)}.0/24")
    before = routers(cli, "Acme")
    text = cli("export").out.replace("PrivateKey = REPLACE", "#PrivateKey = REPLACE")
    file = tmp_path / "back.conf"
    # the gateway's IPv6 addresses are no LANs
    file.write_text("".join(line if not line.startswith("AllowedIPs") else ", ".join(
        part for part in line.split(", ") if ":" not in part) + ("" if line.rstrip().endswith("24") else "\n")
        for line in text.splitlines(keepends=True)))
    cli("tenant", "remove", "Acme", "--yes")
    done = cli("import", str(file), "--tenant", "Acme")
    after = routers(cli, "Acme")
    assert done.status == 0 and {n: (r["public_key"], r["address"], r["lans"]) for n, r in after.items()} == {
        n: (r["public_key"], r["address"], r["lans"]) for n, r in before.items()}, done


def test_export_refuses_a_key_that_is_not_the_gateways(cli, tmp_path):
    other = tmp_path / "other.key"
    other.write_text(key_pair()[0] + "\n")
    refused = cli("export", "--private-key-file", str(other), "--output", str(tmp_path / "out"))
    assert refused.status == 1 and "another gateway" in refused.err and not (tmp_path / "out").exists(), refused
    other.write_text("nonsense\n")
    assert cli("export", "--private-key-file", str(other)).status == 1
    assert cli("export", "--private-key-file", str(tmp_path / "none")).status == 1


def test_a_long_export_is_whole(cli, gateway):
    gateway.api.post("/tenants/bulk", {"tenants": [
        {"name": "big", "routers": [{"name": f"r{n}", "public_key": public_key()} for n in range(1700)]}]})
    done = cli("export")
    assert done.status == 0 and done.out.count("[Peer]") == 1700, done.err
    assert "# End: 1700 peers" in done.out
