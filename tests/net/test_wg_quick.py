"""wg-quick(8) with our implementation, and with nothing changed in it.

    [home]  wg 10.9.0.2/24 fd00:9::2/64                      wg 10.9.0.1/24 fd00:9::1/64  [far]
      |                                                     lo 203.0.113.1 2001:db8:f::1    |
    eth0 192.0.2.2/24 2001:db8::2/64 --------------------- eth0 192.0.2.1/24 2001:db8::1/64

[home] is brought up and down by wg-quick; [far] runs wireguard-go and stands for the provider, with addresses behind it
that only a default route through the tunnel reaches.
"""
import os
import subprocess

import pytest

from lab import ENGINE, SLOW, SOCKETS, SUT, Key, World, base64, bracketed, wait_until

IMPLEMENTATION = str(ENGINE) if SUT == "sallyport-wg" else "wireguard-go"


class Scene:
    def __init__(self, world):
        self.world = world
        self.home, self.far = world.space("home"), world.space("far")
        world.link(self.home, ["192.0.2.2/24", "2001:db8::2/64"], self.far, ["192.0.2.1/24", "2001:db8::1/64"])
        self.far.ip("addr add 203.0.113.1/32 dev lo", "addr add 2001:db8:f::1/128 dev lo nodad")
        self.server = world.device(self.far, implementation="wireguard-go", addresses=["10.9.0.1/24", "fd00:9::1/64"])

    def config(self, allowed, interface="", endpoint="192.0.2.1"):
        """Writes a configuration; the server knows its key. Returns (interface name, path)."""
        key = Key()
        self.server.set("replace_peers=true")
        self.server.add(key, ["10.9.0.2/32", "fd00:9::2/128"])
        name = self.world.interface()
        path = self.world.folder / f"{name}.conf"
        path.touch(mode=0o600)
        path.write_text("\n".join([
            "[Interface]", f"PrivateKey = {base64(key.private)}", "Address = 10.9.0.2/24, fd00:9::2/64", interface,
            "[Peer]", f"PublicKey = {base64(self.server.key.public)}", f"AllowedIPs = {allowed}",
            f"Endpoint = {bracketed(endpoint, self.server.port)}", ""]), encoding="ascii")
        return name, path

    def quick(self, verb, path, check=True):
        """wg-quick's output; through a file, since an implementation might keep a pipe open."""
        said = self.world.folder / "said"
        environment = {**os.environ, "WG_QUICK_USERSPACE_IMPLEMENTATION": IMPLEMENTATION, "LOG_LEVEL": "error"}
        with open(said, "wb") as out, self.home.inside():
            done = subprocess.run(["wg-quick", verb, str(path)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  timeout=20 * SLOW, check=False, env=environment)
        done.said = said.read_text()
        assert not check or done.returncode == 0, done.said
        return done


@pytest.fixture(scope="module")
def scene():
    with World() as world:
        yield Scene(world)


@pytest.fixture
def quick(scene):
    """up(allowed, ...) and down() of one interface; taken down whatever happens."""
    state = {}

    def up(*arguments, **options):
        state["name"], state["path"] = scene.config(*arguments, **options)
        scene.quick("up", state["path"])
        return state["name"]

    def down():
        return scene.quick("down", state.pop("path"))

    yield up, down
    if "path" in state:
        scene.quick("down", state["path"], check=False)
        scene.home.run("ip", "link", "del", state["name"], check=False)


pytestmark = pytest.mark.ours  # Debian's wireguard-go does not daemonize reliably, which is what this is about


def test_up_and_down(scene, quick):
    up, down = quick
    def state():
        return [scene.home.ip(what) for what in ("-br addr show", "rule show", "route show table all")]

    before = state()
    name = up("10.9.0.1/32, fd00:9::1/128")
    assert scene.home.ping("10.9.0.1") and scene.home.ping("fd00:9::1")
    assert f"interface: {name}" in scene.home.run("wg", "show", name).stdout
    down()
    wait_until(lambda: not (SOCKETS / f"{name}.sock").exists(), what="the socket to go with the interface")
    wait_until(lambda: state() == before)


def test_routes_of_allowed_ips(scene, quick):
    up, down = quick
    name = up("10.9.0.1/32, 203.0.113.0/24, 2001:db8:f::/48")
    assert f"dev {name}" in scene.home.ip("route get 203.0.113.1")
    assert scene.home.ping("203.0.113.1") and scene.home.ping("2001:db8:f::1")
    down()


def test_table_off_sets_no_route(scene, quick):
    up, _ = quick
    up("203.0.113.0/24", interface="Table = off")
    assert "203.0.113" not in scene.home.ip("route show table all")


@pytest.mark.parametrize("endpoint", ["192.0.2.1", "2001:db8::1"])
def test_default_route_with_fwmark(scene, quick, endpoint):
    """0.0.0.0/0 and ::/0: wg-quick's rules send everything into the tunnel but what the engine itself marks."""
    up, down = quick
    rules = scene.home.ip("rule show")
    name = up("0.0.0.0/0, ::/0", endpoint=endpoint)
    mark = scene.home.run("wg", "show", name, "fwmark").stdout.strip()
    assert mark != "off"
    assert f"not from all fwmark {mark}" in scene.home.ip("rule show")
    assert scene.home.ping("203.0.113.1") and scene.home.ping("2001:db8:f::1")
    # and the outer packets did not go through the tunnel themselves
    assert scene.home.ping("203.0.113.1", size=1300, count=3)
    down()
    assert scene.home.ip("rule show") == rules
    assert name not in scene.home.run("nft", "list", "ruleset").stdout


def test_mtu_preup_and_postdown_hooks(scene, quick):
    up, down = quick
    trace = scene.world.folder / "trace"
    name = up("10.9.0.1/32", interface=f"MTU = 1300\nPreUp = echo pre %i >>{trace}\nPostUp = wg show %i >>{trace}\n"
                                       f"PostDown = echo post %i >>{trace}")
    assert "mtu 1300" in scene.home.ip(f"link show {name}")
    assert scene.home.ping("10.9.0.1", size=1272, dont_fragment=True)
    down()
    said = trace.read_text()
    assert f"pre {name}" in said and f"interface: {name}" in said and f"post {name}" in said


def test_save_strip_and_syncconf(scene, quick):
    up, _ = quick
    name = up("10.9.0.1/32")
    path = scene.world.folder / f"{name}.conf"
    stripped = scene.quick("strip", path).said
    assert "Address" not in stripped
    assert scene.home.ping("10.9.0.1")
    before = scene.home.run("wg", "show", name, "latest-handshakes").stdout
    scene.home.run("wg", "syncconf", name, "/dev/stdin", input=stripped)
    assert scene.home.run("wg", "show", name, "latest-handshakes").stdout == before, "sessions live through syncconf"
    scene.home.run("wg", "set", name, "peer", base64(Key().public), "allowed-ips", "10.55.0.0/16")
    scene.quick("save", path)
    assert "10.55.0.0/16" in path.read_text()


def test_listen_port_in_use_undoes_everything(scene, quick):
    held = scene.home.udp("0.0.0.0")
    name, path = scene.config("10.9.0.1/32", interface=f"ListenPort = {held.getsockname()[1]}")
    said = scene.quick("up", path, check=False)
    held.close()
    assert said.returncode != 0 and "in use" in said.said
    assert name not in scene.home.ip("-br link show")
    wait_until(lambda: not (SOCKETS / f"{name}.sock").exists())


def test_up_twice_is_refused(scene, quick):
    up, _ = quick
    name = up("10.9.0.1/32")
    again = scene.quick("up", scene.world.folder / f"{name}.conf", check=False)
    assert again.returncode != 0 and "already exists" in again.said
    assert scene.home.ping("10.9.0.1")
