"""networkd's script on a real systemd-networkd: run again, what has changed is in the running tunnel, and what has not goes on."""
import pathlib
import shutil
import subprocess

import pytest

NETWORKD = pathlib.Path("/usr/lib/systemd/systemd-networkd")
RUN = pathlib.Path(__file__).with_name("networkd.sh")


class Stages:
    """Scripts in the order in which the router runs them. The gateway they dial is an interface on the same host."""

    def __init__(self, folder, server_key):
        self.folder, self.count = folder, 0
        self.far = f"[Interface]\nPrivateKey = {server_key}\nListenPort = 7777\n"
        (folder / "bin").mkdir()
        (folder / "bin" / "systemctl").write_text("#!/bin/sh\n")
        (folder / "bin" / "systemctl").chmod(0o755)

    def peer(self, key, shared, addresses):
        self.far += f"[Peer]\nPublicKey = {key}\nPresharedKey = {shared}\nAllowedIPs = {addresses}\n"

    def add(self, text, key, wait, endpoint="127.0.0.1:7777"):
        self.count += 1
        assert "vpn.example.com:51820" in text
        for suffix, content in ((".sh", text.replace("vpn.example.com:51820", endpoint)), (".wait", wait), (".key", key)):
            (self.folder / f"{self.count}{suffix}").write_text(content)

    def run(self):
        (self.folder / "far.conf").write_text(self.far)
        done = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", RUN, self.folder],
                              text=True, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, (done, (self.folder / "log").read_text()[-3000:])

    def read(self, stage):
        """Own private key, and of the peer: shared key, endpoint, prefixes, handshake, keepalive."""
        lines = [line.split("\t") for line in (self.folder / f"{stage}.wg").read_text().splitlines()]
        assert len(lines) == 2, lines
        key, shared, endpoint, allowed, shake, _, _, keepalive = lines[1]
        return {"private": lines[0][0], "key": key, "shared": shared, "endpoint": endpoint, "allowed": set(allowed.split(",")),
                "shake": shake, "keepalive": keepalive, "routes": (self.folder / f"{stage}.route").read_text(),
                "address": (self.folder / f"{stage}.address").read_text()}


@pytest.mark.skipif(not NETWORKD.exists() or not shutil.which("dbus-daemon"), reason="there is no systemd-networkd here")
def test_what_a_later_script_changes_is_in_the_running_tunnel(gateway, tenant, script, tmp_path):
    api = gateway.api
    made = api.post(f"/tenants/{tenant['id']}/routers?format=networkd", {"name": "roof", "preshared_key": "generate"})
    first = made["config"]
    api.post(f"/tenants/{tenant['id']}/routers", {"name": "other", "lans": ["192.168.77.0/24"]})
    after_lans = script(made, "networkd")
    rotated = api.post(f"/routers/{made['id']}/rotate?format=networkd", {"preshared_key": "generate"})
    shared = [next(line for line in text.splitlines() if line.endswith('sallyport.psk")')).split("echo ")[1].split()[0]
              for text in (after_lans, rotated["config"])]
    assert shared[0] != shared[1] and made["private_key"] != rotated["private_key"]

    stages = Stages(tmp_path, (gateway.folder / "server.key").read_text().strip())
    stages.peer(made["public_key"], shared[0], f"{made['address']}/32")
    stages.peer(rotated["public_key"], shared[1], f"{made['address']}/32")
    stages.add(first, made["public_key"], tenant["subnet"])
    stages.add(first, made["public_key"], tenant["subnet"])
    stages.add(after_lans, made["public_key"], "192.168.77.0/24")
    stages.add(rotated["config"], rotated["public_key"], "192.168.77.0/24")
    stages.add(rotated["config"], rotated["public_key"], "192.168.77.0/24", endpoint="127.0.0.2:7777")
    stages.add(first, made["public_key"], tenant["subnet"])
    stages.run()

    one, again, lans, keys, moved, back = [stages.read(number) for number in range(1, 7)]
    assert one["private"] == made["private_key"] and one["shared"] == shared[0] and one["keepalive"] == "25"
    assert one["endpoint"] == "127.0.0.1:7777" and f"{made['address']}/32" in one["address"] and "mtu 1420" in one["address"]
    assert int(one["shake"]) > 0, "the first run connects"
    assert again == one, "a second run changes nothing, and the session goes on"
    assert lans["allowed"] == one["allowed"] | {"192.168.77.0/24"} and "192.168.77.0/24" in lans["routes"]
    assert lans["shake"] == one["shake"] and lans["private"] == one["private"], "a change of LANs costs no session"
    assert keys["private"] == rotated["private_key"] and keys["shared"] == shared[1]
    assert int(keys["shake"]) > int(lans["shake"]), "the new key shakes hands"
    assert moved["endpoint"] == "127.0.0.2:7777" and moved["private"] == keys["private"]
    assert back["allowed"] == one["allowed"] and "192.168.77.0/24" not in back["routes"], "what is no longer there goes"
