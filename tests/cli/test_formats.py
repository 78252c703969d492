"""Configurations in every form: the scripts run, here on stand-ins for the systems they are for, and say the same as the
wg-quick text; run again they change nothing."""
import configparser
import json
import os
import re
import shutil
import stat
import subprocess

import pytest

from test_commands import Config, key_pair

# A uci(1) that keeps "set", "add_list", "delete" and "get" in a file, as much of it as the script uses.
UCI = r"""#!/usr/bin/python3
import json, pathlib, sys
store = pathlib.Path(sys.argv[0]).with_name("uci.json")
kept = json.loads(store.read_text()) if store.exists() else {}
words = [word for word in sys.argv[1:] if word != "-q"]
verb, (name, _, value) = words[0], words[1].partition("=")
if verb == "set":
    kept[name] = value
elif verb == "add_list":
    kept.setdefault(name, []).append(value)
elif verb == "delete":
    gone = [key for key in kept if key == name or key.startswith(name + ".")]
    for key in gone:
        del kept[key]
    store.write_text(json.dumps(kept))
    sys.exit(0 if gone else 1)
elif verb == "get":
    print(kept[name]) if name in kept else sys.exit(1)
elif verb != "commit":
    sys.exit(2)
store.write_text(json.dumps(kept))
"""


@pytest.fixture
def router(cli):
    """adds("--format", ...) makes a router and returns what was printed."""
    cli("tenant", "add", "it's $(reboot)", "--addressing", "private")

    def add(name, *options):
        done = cli("router", "add", "it's $(reboot)", name, *options)
        assert done.status == 0, done
        return done.out

    return add


def play(script, folder, *arguments):
    """Runs it with stand-ins in front; nothing of it reaches this host's configuration."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    stand_ins = {"uci": UCI, "ifup": "#!/bin/sh\n", "chgrp": "#!/bin/sh\n[ \"$1\" = systemd-network ]\n"}
    for name, text in stand_ins.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    script = script.replace("/etc/crontabs", str(folder)).replace("/etc/init.d/cron", "true")
    shell = ["/bin/sh"]
    if "uci" in script and shutil.which("busybox"):
        shell = ["busybox", "ash"]  # OpenWrt's, which prefers programs of its own to those in PATH
        script = f"ifup() {{ {bin_folder}/ifup; }}\n{script}"
    return subprocess.run([*shell, "-s", *arguments], input=script, text=True, capture_output=True, check=False,
                          env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"})


def peer(config):
    """Endpoint, allowed prefixes and preshared key of a wg-quick text."""
    found = dict(re.findall(r"^(\w+) = (.*)$", config.plain.partition("[Peer]")[2], re.M))
    return found


def test_openwrt_is_set_up_as_wg_quick_would_be(cli, router, tmp_path):
    script = router("roof", "--preshared-key", "generate", "--format", "openwrt")
    plain = peer(Config(cli("router", "config", "roof").out))
    states = []
    for _ in range(2):
        done = play(script, tmp_path)
        assert done.returncode == 0, done
        states.append((tmp_path / "bin" / "uci.json").read_text())
    assert states[0] == states[1]
    kept = json.loads(states[0])
    assert kept["network.sallyport"] == "interface" and kept["network.sallyport_peer"] == "wireguard_sallyport"
    assert kept["network.sallyport_peer.public_key"] == plain["PublicKey"]
    assert kept["network.sallyport_peer.preshared_key"] == plain["PresharedKey"]
    assert kept["network.sallyport_peer.endpoint_host"] + ":" + kept["network.sallyport_peer.endpoint_port"] == plain["Endpoint"]
    assert kept["network.sallyport_peer.allowed_ips"] == plain["AllowedIPs"].split(", ")
    public = subprocess.run(["wg", "pubkey"], input=kept["network.sallyport.private_key"], text=True, capture_output=True,
                            check=True).stdout.strip()
    assert public == cli("router", "show", "roof", "--json").json["public_key"]
    assert (tmp_path / "root").read_text().count("wireguard_watchdog") == 1


def test_a_router_that_made_its_own_key_is_told_if_the_gateway_knows_another(cli, router, tmp_path):
    private, public = key_pair()
    script = router("roof", "--public-key", public, "--format", "openwrt")
    done = play(script, tmp_path)
    assert done.returncode == 1 and "--public-key" in done.stderr, done
    made = done.stderr.split("--public-key ")[1].strip()
    assert cli("router", "rotate", "roof", "--public-key", made, "--yes").status == 0
    script = cli("router", "config", "roof", "--format", "openwrt").out
    again = play(script, tmp_path)
    assert again.returncode == 0, again
    assert private not in script


def test_networkd_gets_files_that_only_it_can_read_where_keys_are(cli, router, tmp_path):
    script = router("roof", "--preshared-key", "generate", "--format", "networkd")
    plain = peer(Config(cli("router", "config", "roof").out))
    root = tmp_path / "root"
    for _ in range(2):
        done = play(script, tmp_path, str(root))
        assert done.returncode == 0, done
    folder = root / "etc" / "systemd" / "network"
    for name, mode in (("sallyport.key", 0o640), ("sallyport.psk", 0o640), ("sallyport.netdev", 0o644),
                       ("sallyport.network", 0o644)):
        assert stat.S_IMODE((folder / name).stat().st_mode) == mode, name
    netdev = configparser.ConfigParser(strict=False)
    netdev.optionxform = str
    netdev.read_string((folder / "sallyport.netdev").read_text())
    assert netdev["WireGuardPeer"]["PublicKey"] == plain["PublicKey"]
    assert netdev["WireGuardPeer"]["Endpoint"] == plain["Endpoint"]
    assert (folder / "sallyport.psk").read_text().strip() == plain["PresharedKey"]
    wanted = plain["AllowedIPs"].split(", ")
    assert re.findall("^AllowedIPs=(.*)$", (folder / "sallyport.netdev").read_text(), re.M) == wanted
    assert re.findall("^Destination=(.*)$", (folder / "sallyport.network").read_text(), re.M) == wanted
    assert subprocess.run(["/bin/sh", "-n", str(folder / "sallyport-endpoint")], check=False).returncode == 0


def test_routeros_gets_the_key_once_and_names_nothing_but_its_own(cli, router):
    script = router("roof", "--format", "routeros")
    again = cli("router", "config", "roof", "--format", "routeros").out
    key = re.search(r'private-key="([^"]+)"', script)[1]
    public = subprocess.run(["wg", "pubkey"], input=key, text=True, capture_output=True, check=True).stdout.strip()
    assert public == cli("router", "show", "roof", "--json").json["public_key"]
    assert "private-key" not in again and public in again
    for text in (script, again):
        assert text.count("{") == text.count("}") and text.count('"') % 2 == 0 and text.isascii()
        for line in text.splitlines():
            changes = re.search(r"/(add|set|remove) ", line)
            assert not changes or "sallyport" in line or "$" in line, line


def test_a_code_is_a_picture_in_a_file_and_drawn_in_a_terminal(cli, router, tmp_path):
    drawn = router("roof", "--format", "qr")
    assert set(re.sub("\033\\[[0-9;]*m", "", drawn)) == set(" \n\u2580\u2584\u2588")
    assert cli("router", "config", "roof", "--format", "qr", "--output", "roof.svg").status == 0
    assert (tmp_path / "roof.svg").read_text().startswith("<svg ")
    assert cli("router", "config", "roof", "--format", "qr", "--json").json["config"].startswith("<svg ")


def test_a_key_is_not_lost_with_a_code_that_it_does_not_fit_into(cli, router, tmp_path):
    for number in range(2):
        lans = [f"2001:db8:aaaa:bbbb:cccc:d{number}{i:02x}:ffff:fff0/124" for i in range(32)]
        router(f"router {number}", *(word for lan in lans for word in ("--lan", lan)))
    added = cli("router", "add", "it's $(reboot)", "last", "--format", "qr", "--output", "last.svg")
    assert added.status == 0 and "does not fit" in added.err, added
    kept = (tmp_path / "last.svg").read_text()
    public = subprocess.run(["wg", "pubkey"], input=kept.removeprefix("PrivateKey = "), text=True, capture_output=True,
                            check=True).stdout.strip()
    assert public == cli("router", "show", "last", "--json").json["public_key"]
    drawn = cli("router", "config", "last", "--format", "qr")
    assert drawn.status == 0 and "here it is as text" in drawn.err and "[Peer]" in drawn.out, drawn


def test_a_form_that_there_is_not_is_named_with_those_there_are(cli, router):
    router("roof")
    refused = cli("router", "config", "roof", "--format", "papyrus")
    assert refused.status == 2 and "wg-quick|routeros|openwrt|networkd|qr" in refused.err, refused
