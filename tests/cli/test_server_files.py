"""WireGuard servers' files as panels, scripts and people write them: what becomes of them, and what is said."""
import itertools
import pathlib
import re
import subprocess

import pytest

from conftest import BUILD, Cli
from harness.client import key_pair
from harness.gateway import Gateway
from harness.load import public_key
from harness.netns import Network

PANELS = sorted(pathlib.Path(__file__).parent.glob("panels/*.conf"))
# what the third peer is called, which no comment names: its address
NAMES = {
    "wg-easy-14": ["roof", "cellar (new)", "10.8.0.4"], "wg-portal-1": ["roof", "the cellar", "10.8.0.4"],
    "wg-portal-2": ["roof", "the cellar", "10.8.0.4"], "wgdashboard": ["Ann's iPhone", "cellar", "10.8.0.4"],
}


def filled(text):
    """The file with keys in it, and those of them that are secrets."""
    secrets = []

    def secret(_):
        secrets.append(key_pair()[0])
        return secrets[-1]

    text = re.sub(r"\{(private|preshared|secret)\}", secret, text)
    return re.sub(r"\{public\}", lambda _: public_key(), text), secrets


def server(*peers, interface="Address = 10.8.0.1/24\nListenPort = 51820", key=None):
    key = f"PrivateKey = {key}\n" if key else ""
    return f"[Interface]\n{key}{interface}\n" + "".join(f"\n[Peer]\n{peer}\n" for peer in peers)


def peer(allowed="10.8.0.2/32", *more):
    return "\n".join([f"PublicKey = {public_key()}", f"AllowedIPs = {allowed}", *more])


@pytest.fixture
def file(tmp_path):
    def write(content, name="wg0.conf"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)
    return write


@pytest.fixture
def plan(cli, file):
    def make(content, *options):
        return cli("import", file(content), "--tenant", "Acme", "--other-key", "--addressing", "private", "--dry-run",
                   "--json", *options)
    return make


# --- names, and what is none ---

@pytest.mark.parametrize("path", PANELS, ids=[path.stem for path in PANELS])
def test_peers_are_called_what_their_panel_calls_them(plan, path):
    text, secrets = filled(path.read_text())
    done = plan(text)
    assert [item["name"] for item in done.json["items"]] == NAMES.get(path.stem, ["roof", "cellar", "10.8.0.4"]), done
    assert not any(secret in done.out + done.err for secret in secrets)


def test_there_is_a_file_of_each_panel():
    assert len(PANELS) >= 17


@pytest.mark.parametrize("panel", ["wg-portal-1", "wg-portal-2", "scripts"])
def test_a_key_in_a_comment_gets_nowhere(cli, gateway, file, panel):
    text, secrets = filled(next(path for path in PANELS if path.stem == panel).read_text())
    private = re.search(r"PrivateKey = (\S+)", text).group(1)
    preshared = re.findall(r"PresharedKey = (\S+)", text)
    comments = [secret for secret in secrets if secret != private and secret not in preshared]
    path = file(text)
    assert len(comments) >= 3
    done = cli("import", path, "--tenant", "Acme", "--other-key", "--addressing", "private")
    assert done.status == 0 and "this comment may hold a key" in done.err, done
    said = [done.out + done.err]
    for command in (("router", "list"), ("router", "list", "--json"), ("events", "--json"), ("export",)):
        said.append(cli(*command).out)
    for router in cli("router", "list", "--json").json["items"]:
        said.append(cli("router", "config", router["id"]).out)
    for stored in gateway.folder.rglob("*"):
        if stored.is_file():
            said.append(stored.read_bytes().decode(errors="replace"))
    assert len(said) > 8
    assert not any(secret in text or secret.rstrip("=") in text for secret in comments for text in said)


def test_twins_are_told_apart(cli, file):
    path = file(server(*(f"# roof\n{peer(f'10.8.0.{n}/32')}" for n in (2, 3))))
    done = cli("import", path, "--tenant", "Acme", "--dry-run")
    assert f"{path}:10: another [Peer] above has the same name" in done.err, done
    assert [line.split()[1:3] for line in done.out.splitlines()[1:3]] == [["roof", "10.8.0.2"], ["roof", "10.8.0.3"]]


# --- what wg takes ---

@pytest.mark.parametrize("old, new", [
    ("[Interface]", "[ Interface ]"), ("[Peer]", "[Peer ]"), ("Address = 10.8.0.1/24", "Address = 10.8.0.1/24 fd00::1/64"),
    ("Address = 10.8.0.1/24", "Address = 10.8.0.1/24,"), ("ListenPort = 51820", "MTU ="),
    ("ListenPort = 51820", "MTU = 1420 # x"), ("ListenPort = 51820", "SaveConfig = true"),
    ("PublicKey =", "Public Key ="), ("AllowedIPs =", "Allowed IPs ="), ("10.8.0.2/32", "10.8.0.2 /32"),
    ("10.8.0.2/32", "+10.8.0.2/32"), ("10.8.0.2/32", "10.8.0.2/32\nPersistentKeepalive = off"),
    ("PublicKey", "\tpublicKEY\t"), ("\n", "\r\n"), ("[Interface]", "\ufeff[Interface]"),
    ("10.8.0.2/32", "10.8.0.2/32\nPresharedKey =\nEndpoint ="),
], ids=itertools.count())
def test_what_wg_takes_is_taken(plan, old, new):
    done = plan(server(peer()).replace(old, new).rstrip("\n"))
    assert done.status == 0 and [item["address"] for item in done.json["items"]] == ["10.8.0.2"], done


def test_a_key_with_blanks_is_the_key(plan):
    key = public_key()
    done = plan(server(f"PublicKey = {key[:20]} \t{key[20:]}\nAllowedIPs = 10.8.0.2/32"))
    assert done.status == 0 and done.json["items"][0]["public_key"] == key, done


@pytest.mark.parametrize("content, said", [
    (server(peer()).encode("utf-16"), "line 1: this file is in UTF-16"),
    (server(peer()).replace("PublicKey", "Public\u00a0Key").encode(), "no-break space (U+00A0), which cannot be seen"),
    (server(peer()).replace("ListenPort", "LisenPort").encode(), "line 3: there is no setting \"LisenPort\"; ListenPort is"),
    (server(peer()).replace("ListenPort", "AllowedIPs").encode(), "line 3: AllowedIPs stands in [Interface]"),
    (server(peer("10.8.0.2/32", "Endpoint = 192.0.2.1")).encode(), "line 8: Endpoint is HOST:PORT"),
])
def test_a_wrong_line_is_told_with_its_number_and_nothing_is_imported(cli, file, content, said):
    refused = cli("import", file(content), "--tenant", "Acme")
    assert refused.status == 1 and said in refused.err and "Nothing was imported" in refused.err, refused
    assert cli("tenant", "list", "--names").out == ""


def test_marks_of_byte_order_are_skipped_in_lists_too(cli, file):
    rows = '{"name": "Acme", "routers": [{"name": "roof", "public_key": "%s"}]}\n' % public_key()
    assert cli("import", file("\ufeff" + rows, "a.jsonl")).status == 0
    assert cli("import", file(f"\ufefftenant,router,public_key\r\nOther,roof,{public_key()}\r\n", "a.csv")).status == 0
    for name, text in (("b.jsonl", rows), ("b.csv", "tenant,router\nA,b\n")):
        refused = cli("import", file(text.encode("utf-16"), name), "--configs", "out")
        assert refused.status == 1 and "line 1: this file is in UTF-16" in refused.err, refused
    refused = cli("import", file("tenant,router,public\u200b_key\n", "c.csv"))
    assert refused.status == 1 and "zero width space (U+200B)" in refused.err, refused


def test_what_is_not_taken_over_is_said(plan):
    done = plan(server(peer("10.8.0.2/32", "PersistentKeepalive = 25"), interface="Address = 10.8.0.1/24\nTable = off\n"
                       "PostUp = true\nSaveConfig = true\nDNS = 10.8.0.1\nFwMark = 0xca6c\nMTU = 1200\nListenPort = 51833"))
    for said in ("wg0.conf:3: Table", "wg0.conf:4: PreUp", "wg0.conf:5: SaveConfig", "wg0.conf:6: DNS",
                 "fwmark = 0xca6c", "MTU = 1200 is not taken over", "dial port 51833", "wg0.conf:14: PersistentKeepalive"):
        assert said in done.err, (said, done)


def test_a_key_that_nobody_compared_is_said(cli, gateway, file):
    done = cli("import", file(server(peer("10.0.0.9/32"))), "--tenant", "Acme", "--dry-run")
    assert "has no PrivateKey" in done.err and gateway.status()["gateway"]["public_key"] in done.err, done


def test_names_of_endpoints_are_looked_up_once(cli, file):
    path = file(server(peer("10.0.0.8/32", "Endpoint = localhost:13231"), peer("10.0.0.9/32", "Endpoint = nosuch.invalid:1"),
                       interface="Address = 10.0.0.1/24"))
    done = cli("import", path, "--tenant", "Acme")
    assert done.status == 0 and f"{path}:4: localhost is " in done.err and f"{path}:9: nosuch.invalid cannot be" in done.err
    endpoints = {r["address"]: r["endpoint"] for r in cli("router", "list", "--json").json["items"]}
    assert endpoints["10.0.0.8"] in ("127.0.0.1:13231", "[::1]:13231") and not endpoints["10.0.0.9"], endpoints


# --- init ---

def settings(path):
    return dict(re.findall(r"^(\w+) = (.*)$", path.read_text(), re.MULTILINE))


def init(alone, tmp_path, text, *options, name="wg0.conf"):
    path = tmp_path / name
    path.write_text(text)
    config = tmp_path / "sallyport.conf"
    config.unlink(missing_ok=True)
    return config, alone("init", "--from", str(path), "--endpoint", "vpn.example.com", "--config", str(config),
                         "--state-dir", str(tmp_path / "state"), *options)


def test_init_takes_an_address_and_a_key_that_the_file_lacks(alone, tmp_path):
    private = key_pair()[0]
    text = server(peer(), interface="ListenPort = 51820\nPostUp = wg set %i private-key /etc/wireguard/%i.key")
    _, refused = init(alone, tmp_path, text)
    assert refused.status == 1 and "--private-key-file" in refused.err, refused
    (tmp_path / "wg0.key").write_text(private + "\n")
    _, refused = init(alone, tmp_path, text, "--private-key-file", str(tmp_path / "wg0.key"))
    assert refused.status == 1 and "--address" in refused.err, refused
    assert not (tmp_path / "state").exists()
    config, done = init(alone, tmp_path, text, "--private-key-file", str(tmp_path / "wg0.key"), "--address", "10.8.0.1/24")
    assert done.status == 0 and settings(config)["hub_address"] == "10.8.0.1", done
    assert settings(config)["pool"] == "10.8.0.0/24"
    assert (tmp_path / "state" / "server.key").read_text() == private + "\n" and private not in done.out + done.err
    (tmp_path / "wg0.key").write_text("nonsense\n")
    _, refused = init(alone, tmp_path, text, "--private-key-file", str(tmp_path / "wg0.key"), "--address", "10.8.0.1")
    assert refused.status == 1 and "does not hold a WireGuard private key" in refused.err, refused
    assert alone("init", "--address", "10.8.0.1", "--config", str(config)).status == 2


def test_init_keeps_the_mark_and_says_what_it_cannot_keep(alone, tmp_path):
    interface = "Address = 10.8.0.1/24, 10.9.0.1/24\nFwMark = 0xca6c\nTable = off\nMTU = 1200\nPostUp = true"
    config, done = init(alone, tmp_path, server(peer(), interface=interface, key=key_pair()[0]))
    assert done.status == 0 and settings(config)["fwmark"] == "0xca6c" and settings(config)["mtu"] == "1280", done
    for said in ("MTU = 1200 is not taken over", "Table is not", "PostUp", "no longer answers at 10.9.0.1"):
        assert said in done.err, (said, done)
    for mark, kept in (("51820", "0xca6c"), ("off", None)):
        config, done = init(alone, tmp_path, server(peer(), interface=f"Address = 10.8.0.1/24\nFwMark = {mark}",
                                                    key=(tmp_path / "state" / "server.key").read_text().strip()))
        assert done.status == 0 and settings(config).get("fwmark") == kept, done


@pytest.mark.parametrize("endpoint", [
    "2001:db8::5:51820", "[2001:db8::5", "2001:db8::5]:51820", "vpn.example.com:", "vpn.example.com:0",
    "vpn.example.com:99999", ":51820", "vpn:example:com"])
def test_an_endpoint_that_nobody_can_dial_is_refused(alone, gateway, tmp_path, endpoint):
    config = tmp_path / "sallyport.conf"
    refused = alone("init", "--endpoint", endpoint, "--config", str(config))
    assert refused.status == 2 and "[2001:db8::5]:51820" in refused.err and not config.exists(), refused
    config.write_text(f"[gateway]\nendpoint = {endpoint}\n")
    daemon = str(pathlib.Path(alone.program).parent.parent / "daemon" / "sallyportd")
    check = subprocess.run([daemon, "--check", "--config", str(config)], capture_output=True, text=True, check=False)
    assert check.returncode != 0 and "endpoint" in check.stderr + check.stdout, check


# --- advice, run as it is printed ---

FORMS = {
    "plain": "PrivateKey = {key}\n", "crlf": "PrivateKey = {key}\r\n", "lower case": "privatekey={key}\n",
    "comment behind": "PrivateKey = {key}  # main\n", "tab behind": "PrivateKey =\t{key}\n",
    "tab before": "\tPrivateKey = {key}\n", "blanks": "Private Key = {key}\n",
    "comment above": "# PrivateKey = {other}\nPrivateKey = {key}\n",
}


def run_as_printed(lines, program, folder):
    """The lines in a shell, where systemctl does nothing and /var/lib is a folder of the shell's own."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "systemctl").write_text("#!/bin/sh\n")
    (folder / "bin" / "systemctl").chmod(0o755)
    script = ("mount -t tmpfs none /var/lib && mkdir /var/lib/sallyport && echo former >/var/lib/sallyport/server.key\n"
              f"PATH={folder}/bin:{pathlib.Path(program).parent}:$PATH\ncd {folder}\n" + "\n".join(lines) +
              "\ncat /var/lib/sallyport/server.key; cat /var/lib/sallyport/server.key.former")
    return subprocess.run(["unshare", "-m", "sh", "-ec", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("form, name", [*((form, "wg0.conf") for form in FORMS), ("plain", "it's my.conf")])
def test_the_advice_for_the_key_can_be_run_as_printed(cli, file, tmp_path, form, name):
    if pathlib.Path("/etc/sallyport/sallyport.conf").exists():
        pytest.skip("this host has a gateway of its own")
    private, other = key_pair()[0], key_pair()[0]
    text = ("[Interface]\n" + FORMS[form].format(key=private, other=other) + "Address = 10.0.0.1/24\n\n[Peer]\n" +
            peer("10.0.0.2/32") + f"\n#[Peer]\n#PrivateKey = {other}\n")
    refused = cli("import", file(text, name), "--tenant", "Acme")
    assert refused.status == 1 and private not in refused.err, refused
    lines = [line.strip() for line in refused.err.splitlines() if line.startswith("  ")]
    assert len(lines) == 3, refused
    ran = run_as_printed(lines, cli.program, tmp_path)
    assert ran.returncode == 0 and ran.stdout.endswith(f"{private}\nformer\n"), ran


# --- configurations with keys ---

INTERFACE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,14}\.conf")


def configs(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_configurations_are_named_as_interfaces(cli, file, tmp_path):
    names = ["Branch Utrecht", "Zürich Hauptbahnhof", "roof", "Roof", "../../etc/passwd", "lo", "con", "日本", "-x",
             "a" * 40, "a" * 41]
    rows = "tenant,router\n" + "".join(f'Acme,"{name}"\n' for name in names)
    done = cli("import", file(rows, "list.csv"), "--configs", str(tmp_path / "out"))
    made = configs(tmp_path / "out")
    assert done.status == 0 and len(made) == len(names), done
    assert all(INTERFACE_NAME.fullmatch(name) for name in made), made.keys()
    assert {"branch_utrecht.conf", "zurich_hauptbah.conf", "etc_passwd.conf", "wg-lo.conf", "router.conf"} <= set(made)
    assert len({name.lower() for name in made}) == len(names)  # some systems know no case
    for path in (tmp_path / "out").iterdir():
        stripped = subprocess.run(["wg-quick", "strip", str(path)], capture_output=True, text=True, check=False)
        assert stripped.returncode == 0 and "PrivateKey" in stripped.stdout, stripped
    # nothing changes when it is run again, and what is missing comes back with its key
    (tmp_path / "out" / "roof.conf").unlink()
    assert cli("import", file(rows, "list.csv"), "--configs", str(tmp_path / "out")).status == 0
    assert configs(tmp_path / "out") == made


def test_a_full_disk_loses_no_key(cli, file, tmp_path):
    rows = file("tenant,router\n" + "".join(f"Acme,r{n}\n" for n in range(40)), "list.csv")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(out)], check=True)
    try:
        full = cli("import", rows, "--configs", str(out))
        assert full.status == 1 and "No space left" in full.err and "run the same import again" in full.err, full
        assert all("PrivateKey = " in text and "[Peer]" in text for text in configs(out).values())  # whole, or not there
        subprocess.run(["mount", "-o", "remount,size=1m", str(out)], check=True)
        done = cli("import", rows, "--configs", str(out))
        made = configs(out)
        assert done.status == 0 and len(made) == 40, done
        keys = {router["public_key"] for router in cli("router", "list", "--json").json["items"]}
        private = [re.search(r"PrivateKey = (\S+)", text).group(1) for text in made.values()]
        assert keys == {subprocess.run(["wg", "pubkey"], input=key, text=True, capture_output=True, check=True).stdout.strip()
                        for key in private}
    finally:
        subprocess.run(["umount", str(out)], check=True)


# --- what becomes of AllowedIPs ---

@pytest.mark.parametrize("allowed, lans", [
    ("10.0.0.2/32, 10.0.0.2", []), ("10.0.0.2/32, 10.0.0.2/32", []),
    ("10.0.0.2/32, 192.168.0.0/16, 192.168.1.0/24", ["192.168.0.0/16"]),
    ("10.0.0.2/32, 192.168.1.1/24, 192.168.1.0/24", ["192.168.1.0/24"]),
    ("10.0.0.2/32\nAllowedIPs = 10.0.0.2/32, 172.16.9.0/24", ["172.16.9.0/24"]),
])
def test_what_repeats_or_is_covered_is_merged(cli, file, allowed, lans):
    done = cli("import", file(server(peer(allowed), peer("10.0.0.9/32"))), "--tenant", "Acme")
    assert done.status == 0 and done.out.startswith("2 imported"), done
    made = {r["address"]: r["lans"] for r in cli("router", "list", "--json").json["items"]}
    assert made == {"10.0.0.2": lans, "10.0.0.9": []}


def test_a_conflict_makes_no_healthy_peer_one(cli, file):
    path = file(server(peer("10.0.0.2/32, 127.0.0.0/8"), peer("10.0.0.9/32"), interface="Address = 10.0.0.1/24"))
    done = cli("import", path, "--tenant", "Acme")
    assert done.status == 1 and done.out.startswith("1 imported, 0 there already, 1 left out"), done
    assert f"{path}:4: " in done.err and "another tenant" not in done.err, done
    assert [r["address"] for r in cli("router", "list", "--json").json["items"]] == ["10.0.0.9"]


def test_peers_with_default_routes_keep_all_else(cli, file):
    path = file(server(*(peer(f"10.0.0.{n}/32, 0.0.0.0/0, ::/0") for n in range(2, 12)), interface="Address = 10.0.0.1/24"))
    plan = cli("import", path, "--tenant", "Acme", "--dry-run")
    assert plan.status == 1 and "10 with a default route: add --drop-default-routes" in plan.err, plan
    assert cli("import", path, "--tenant", "Acme").status == 1 and cli("tenant", "list", "--names").out == ""
    done = cli("import", path, "--tenant", "Acme", "--drop-default-routes")
    assert done.status == 0 and done.out.startswith("10 imported"), done
    assert all(r["lans"] == [] for r in cli("router", "list", "--json").json["items"])


def test_a_pool_that_can_grow_later_stops_one_peer_and_one_that_cannot_stops_all(tmp_path, file):
    with Network("spg") as network:
        settings = {"gateway": {"endpoint": "vpn.example.com", "pool": "10.8.0.0/24", "hub_address": "10.8.0.1"}}
        with Gateway(BUILD, tmp_path / "gateway", network.host("gateway"), settings) as gateway:
            gateway.start()
            cli = Cli(gateway.socket, tmp_path)
            peers = (peer("10.8.0.2/32"), peer("10.9.0.5/32"))
            moved = cli("import", file(server(*peers, interface="Address = 10.9.0.1/16")), "--tenant", "Acme")
            assert moved.status == 1 and "nothing was imported" in moved.err and "hub_address = 10.9.0.1" in moved.err, moved
            assert cli("tenant", "list", "--names").out == ""
            grown = cli("import", file(server(*peers)), "--tenant", "Acme")
            assert grown.status == 1 and grown.out.startswith("1 imported, 0 there already, 1 left out"), grown
            assert "pool = 10.8.0.0/15" in grown.err, grown


def test_a_server_is_read_whole_however_large(cli, file):
    """More than the 8 MiB that other requests may have: it cannot be sent in parts, since a peer may conflict with any."""
    allowed = ", ".join(f"fd00:{n:x}:1234:5678::/64" for n in range(256))
    path = file(server(*(peer(allowed) for _ in range(2000)), peer("10.0.0.2/32"), interface="Address = 10.0.0.1/24"))
    assert pathlib.Path(path).stat().st_size > 8 << 20
    done = cli("import", path, "--tenant", "Acme", "--dry-run", "--json")
    assert (done.json["imported"], done.json["conflicts"]) == (1, 2000), done.err
