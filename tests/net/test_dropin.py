"""sallyport-wg in the place of any other userspace implementation: Debian's wg(8), processes, sockets, errors.

    [host]  wg interface, nothing else
"""
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

from harness.gateway import program
from lab import BUILD, ENGINE, OURS, SLOW, SOCKETS, Key, World, base64, wait_until

PEERS = 1000
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture(scope="module")
def device():
    """One interface that the tests of wg(8) share; each begins with replacing its peers."""
    with World() as world:
        yield world.device(world.space("host"), addresses=["10.9.0.1/24"])


@pytest.fixture(scope="module")
def shown(device):
    """The device with two peers, one of them with everything that can be set."""
    full, bare = Key(), Key()
    psk = os.urandom(32)
    device.set("replace_peers=true")
    device.set("fwmark=4660", f"public_key={full.hex}", f"preshared_key={psk.hex()}", "endpoint=192.0.2.7:4242",
               "persistent_keepalive_interval=25", "allowed_ip=10.9.0.7/32", "allowed_ip=fd00:9::/64",
               f"public_key={bare.hex}")
    return device, full, bare, psk


def wg(device, *arguments, **options):
    return device.wg(*arguments, **options).stdout


def show(device, field):
    return [line.split("\t") for line in wg(device, "show", device.name, field).splitlines()]


FIELDS = {
    "public-key": lambda d, full, bare, psk: [[base64(d.key.public)]],
    "private-key": lambda d, full, bare, psk: [[base64(d.key.private)]],
    "listen-port": lambda d, full, bare, psk: [[str(d.port)]],
    "fwmark": lambda d, full, bare, psk: [["0x1234"]],
    "peers": lambda d, full, bare, psk: [[base64(full.public)], [base64(bare.public)]],
    "preshared-keys": lambda d, full, bare, psk: [[base64(full.public), base64(psk)], [base64(bare.public), "(none)"]],
    "endpoints": lambda d, full, bare, psk: [[base64(full.public), "192.0.2.7:4242"], [base64(bare.public), "(none)"]],
    "allowed-ips": lambda d, full, bare, psk: [[base64(full.public), "10.9.0.7/32 fd00:9::/64"],
                                               [base64(bare.public), "(none)"]],
    "latest-handshakes": lambda d, full, bare, psk: [[base64(full.public), "0"], [base64(bare.public), "0"]],
    "transfer": None,
    "persistent-keepalive": lambda d, full, bare, psk: [[base64(full.public), "25"], [base64(bare.public), "off"]],
}


@pytest.mark.parametrize("field", FIELDS)
def test_show_field(shown, field):
    device, full, bare, psk = shown
    said = show(device, field)
    if field == "transfer":  # with a keepalive and an endpoint it has begun to knock
        assert sorted(line[0] for line in said) == sorted([base64(full.public), base64(bare.public)])
        assert all(line[1] == "0" for line in said)
        return
    assert sorted(said) == sorted(FIELDS[field](*shown))


def test_show_dump(shown):
    device, full, bare, psk = shown
    lines = show(device, "dump")
    assert lines[0] == [base64(device.key.private), base64(device.key.public), str(device.port), "0x1234"]
    peers = {line[0]: line[1:] for line in lines[1:]}
    assert peers[base64(full.public)][:4] == [base64(psk), "192.0.2.7:4242", "10.9.0.7/32,fd00:9::/64", "0"]
    assert peers[base64(full.public)][6] == "25"
    assert peers[base64(bare.public)] == ["(none)", "(none)", "(none)", "0", "0", "0", "off"]


@pytest.fixture
def alone(shown):
    """wg(8) where no other interface's socket is to be seen: it asks all it finds, and others may be slow."""
    device = shown[0]
    folder = device.world.folder / "sockets"
    folder.mkdir()
    script = """set -e
        mount -t tmpfs none "$1" && : >"$1/$2" && mount --bind "$3/$2" "$1/$2" && mount --rbind "$1" "$3"
        shift 3
        exec wg "$@\""""
    return lambda *arguments: device.space.run(
        "unshare", "--mount", "sh", "-c", script, "sh", folder, device.path.name, SOCKETS, *arguments).stdout


def test_show_all_and_interfaces(shown, alone):
    device, full, _, _ = shown
    assert alone("show", "interfaces").split() == [device.name]
    assert alone("show", "all") == alone("show") == alone("show", device.name)
    assert f"interface: {device.name}" in alone("show")
    assert f"{device.name}\t{base64(full.public)}\t" in alone("show", "all", "dump")
    assert alone("show", "all", "listen-port") == f"{device.name}\t{device.port}\n"


def test_show_in_words(shown):
    device, full, _, _ = shown
    said = wg(device, "show", device.name)
    for wanted in (f"public key: {base64(device.key.public)}", "private key: (hidden)",
                   f"listening port: {device.port}", "fwmark: 0x1234", f"peer: {base64(full.public)}",
                   "preshared key: (hidden)", "endpoint: 192.0.2.7:4242", "allowed ips: 10.9.0.7/32, fd00:9::/64",
                   "persistent keepalive: every 25 seconds"):
        assert wanted in said


def config(key, peers, extra=""):
    lines = ["[Interface]", f"PrivateKey = {base64(key.private)}", extra]
    for number, peer in enumerate(peers):
        lines += ["[Peer]", f"PublicKey = {base64(peer.public)}",
                  f"AllowedIPs = 10.{number >> 8}.{number & 255}.0/24, fd00:9:{number:x}::/48"]
    return "\n".join(lines) + "\n"


def test_setconf_and_showconf_round_trip(device):
    key, peers = Key(), [Key() for _ in range(3)]
    text = config(key, peers, extra="FwMark = 0x99")
    device.wg("setconf", device.name, "/dev/stdin", input=text)
    first = wg(device, "showconf", device.name)
    for peer in peers:
        assert base64(peer.public) in first
    assert "FwMark = 0x99" in first and f"PrivateKey = {base64(key.private)}" in first
    device.wg("setconf", device.name, "/dev/stdin", input=first)
    assert sections(wg(device, "showconf", device.name)) == sections(first)


def sections(text):
    """A configuration without the order of its peers."""
    return sorted("\n".join(sorted(part.split("\n"))) for part in text.strip().split("\n\n"))


def test_setconf_replaces_addconf_adds_syncconf_changes_only_what_differs(device):
    key, (a, b, c) = Key(), [Key() for _ in range(3)]
    device.wg("setconf", device.name, "/dev/stdin", input=config(key, [a, b]))
    assert set(device.get()["peers"]) == {a.hex, b.hex}
    device.wg("addconf", device.name, "/dev/stdin",
              input=f"[Peer]\nPublicKey = {base64(c.public)}\nAllowedIPs = 10.77.0.0/16\nEndpoint = 192.0.2.9:9\n")
    assert set(device.get()["peers"]) == {a.hex, b.hex, c.hex}
    device.wg("syncconf", device.name, "/dev/stdin",
              input=config(key, [a]) + f"[Peer]\nPublicKey = {base64(c.public)}\nAllowedIPs = 10.78.0.0/16\n")
    peers = device.get()["peers"]
    assert set(peers) == {a.hex, c.hex}
    assert peers[c.hex]["allowed_ip"] == ["10.78.0.0/16"]
    assert peers[c.hex]["endpoint"] == "192.0.2.9:9", "syncconf keeps what it does not mention"
    device.wg("setconf", device.name, "/dev/stdin", input=config(key, [b]))
    assert set(device.get()["peers"]) == {b.hex}


def test_a_thousand_peers_by_setconf(device):
    key, peers = Key(), [Key(os.urandom(32)) for _ in range(PEERS)]
    text = config(key, peers)
    device.wg("setconf", device.name, "/dev/stdin", input=text)
    lines = show(device, "allowed-ips")
    assert len(lines) == PEERS
    wanted = {base64(peer.public): f"10.{n >> 8}.{n & 255}.0/24 fd00:9:{n:x}::/48" for n, peer in enumerate(peers)}
    wanted[base64(peers[0].public)] = "10.0.0.0/24 fd00:9::/48"
    assert dict(lines) == wanted
    again = wg(device, "showconf", device.name)
    device.wg("syncconf", device.name, "/dev/stdin", input=again)
    assert sections(wg(device, "showconf", device.name)) == sections(again)
    device.set("replace_peers=true")
    assert show(device, "peers") == []


def test_set_each_option(device):
    key, peer = Key(), Key()
    device.set("replace_peers=true")
    psk = os.urandom(32)
    (device.world.folder / "private").write_text(base64(key.private) + "\n")
    (device.world.folder / "psk").write_text(base64(psk) + "\n")
    device.wg("set", device.name, "private-key", device.world.folder / "private", "fwmark", "0x77",
              "peer", base64(peer.public), "preshared-key", device.world.folder / "psk", "endpoint",
              "[2001:db8::7]:51820", "persistent-keepalive", "21", "allowed-ips", "10.1.0.0/16,10.2.0.0/16")
    said = device.get()
    assert said["private_key"] == key.private.hex() and said["fwmark"] == str(0x77)
    assert said["peers"][peer.hex]["preshared_key"] == psk.hex()
    assert said["peers"][peer.hex]["endpoint"] == "[2001:db8::7]:51820"
    assert said["peers"][peer.hex]["persistent_keepalive_interval"] == "21"
    assert sorted(said["peers"][peer.hex]["allowed_ip"]) == ["10.1.0.0/16", "10.2.0.0/16"]
    device.wg("set", device.name, "peer", base64(peer.public), "persistent-keepalive", "off",
              "preshared-key", "/dev/null", "allowed-ips", "")
    after = device.get()["peers"][peer.hex]
    assert after.get("persistent_keepalive_interval", "0") == "0" and after["allowed_ip"] == []
    assert after.get("preshared_key", "0" * 64) == "0" * 64
    device.wg("set", device.name, "fwmark", "0", "peer", base64(peer.public), "remove")
    assert device.get()["peers"] == {} and device.get().get("fwmark", "0") == "0"


def test_a_prefix_moves_to_the_peer_that_got_it_last(device):
    a, b = Key(), Key()
    device.set("replace_peers=true", f"public_key={a.hex}", "allowed_ip=10.1.0.0/16",
               f"public_key={b.hex}", "allowed_ip=10.1.0.0/16")
    peers = device.get()["peers"]
    assert peers[a.hex]["allowed_ip"] == [] and peers[b.hex]["allowed_ip"] == ["10.1.0.0/16"]


def test_own_public_key_is_no_peer(device):
    own = Key(bytes.fromhex(device.get()["private_key"]))
    device.set("replace_peers=true", f"public_key={own.hex}", "allowed_ip=10.1.0.0/16")
    assert device.get()["peers"] == {}
    other = Key()
    device.set(f"public_key={other.hex}", "allowed_ip=10.1.0.0/16")
    before = device.get()["private_key"]
    device.set(f"private_key={other.private.hex()}")
    assert device.get()["peers"] == {}, "a peer that turns out to be ourselves goes"
    device.set(f"private_key={before}")


def test_update_only_makes_no_peer(device):
    device.set("replace_peers=true", f"public_key={Key().hex}", "update_only=true", "allowed_ip=10.1.0.0/16")
    assert device.get()["peers"] == {}


def test_listen_port_follows_and_busy_port_is_refused(device):
    held = device.space.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held.bind(("0.0.0.0", 0))
    busy, before = held.getsockname()[1], device.get()["listen_port"]
    result = device.wg("set", device.name, "listen-port", str(busy), check=False)
    assert result.returncode != 0 and "in use" in result.stderr
    assert device.alive
    if OURS:
        assert device.get()["listen_port"] == before, "a refused change leaves everything as it was"
    held.close()
    device.wg("set", device.name, "listen-port", str(busy))
    assert show(device, "listen-port") == [[str(busy)]]
    device.wg("set", device.name, "listen-port", "0")
    assert show(device, "listen-port") != [["0"]], "0 asks for any port; which one is shown"


@pytest.mark.ours
def test_several_clients_of_the_socket_at_once(device):
    silent, half = device.connect(), device.connect()
    half.sendall(b"set=1\nreplace_pe")
    assert "listen_port" in device.get()
    kept = device.connect()
    for _ in range(3):  # one connection may ask again and again
        kept.sendall(b"get=1\n\n")
        answer = b""
        while not answer.endswith(b"\n\n"):
            answer += kept.recv(65536)
        assert answer.endswith(b"errno=0\n\n")
    for s in (silent, half, kept):
        s.close()


@pytest.mark.ours
def test_what_one_client_did_wrong_is_not_told_to_another(device):
    """A long `set` is under way when `wg` makes a peer: its answer is its own, and so is the other's."""
    bad, good = Key(), Key()
    with device.connect() as first:
        # a hub address without a tenant: the worker refuses it, once it is applied
        first.sendall(f"set=1\nsallyport=1\npublic_key={bad.hex}\nhub_address=10.0.0.9\npublic_key={Key().hex}\n".encode())
        for _ in range(5):  # the engine may not have read all of it yet
            device.wg("set", device.name, "peer", base64(good.public))
            device.set("fwmark=0")
            time.sleep(0.05)
        assert good.hex in device.get()["peers"]
        first.sendall(b"\n")
        answer = b""
        while not answer.endswith(b"\n\n"):
            answer += first.recv(65536)
        assert b"Invalid argument" in answer and answer.endswith(b"errno=-22\n\n"), answer
        first.sendall(b"set=1\nfwmark=0\n\n")
        assert first.recv(65536) == b"errno=0\n\n"
    assert bad.hex not in device.get()["peers"]


# --- the process ---


def threads_of(pid):
    """What /proc says of each thread: name, NoNewPrivs, Seccomp, capabilities as numbers of bits."""
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        capabilities = {kind: {bit for bit in range(64) if int(fields[kind], 16) >> bit & 1}
                        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        yield fields, capabilities


@pytest.mark.ours
@pytest.mark.parametrize("arguments", [[], ["--user", "nobody"]], ids=["root", "nobody"])
def test_it_keeps_no_privilege_that_it_does_not_need(host, arguments):
    """Each of its threads: CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, and no way to more."""
    host.host.run(ENGINE, "--workers", "2", *arguments, host.name)
    kept = {10, 12} | ({19} if SLOW > 1 else set())  # a sanitizer looks for leaks with CAP_SYS_PTRACE
    threads = list(threads_of(serving(host.name)[0]))
    assert len(threads) >= 3
    for fields, capabilities in threads:
        assert capabilities["CapPrm"] == capabilities["CapEff"] == kept, fields["Name"]
        assert capabilities["CapBnd"] <= kept and not capabilities["CapInh"] | capabilities["CapAmb"]
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2"), fields["Name"]
        uid = "65534" if arguments else "0"
        assert set(fields["Uid"].split()) == {uid}
    assert sorted(fields["Name"] for fields, _ in threads if fields["Name"].startswith("wg-")) == ["wg-worker-0", "wg-worker-1"]
    # and it goes on: another port, a low one, up and down
    host.host.run("wg", "set", host.name, "listen-port", "999", "fwmark", "0x10")
    host.host.ip(f"link set {host.name} up")
    assert host.host.run("wg", "show", host.name, "listen-port").stdout.strip() == "999"
    host.host.run("wg", "set", host.name, "listen-port", "51999")
    host.host.ip(f"link set {host.name} down", f"link set {host.name} up")
    assert host.host.run("wg", "show", host.name, "listen-port").stdout.strip() == "51999"
    host.host.ip(f"link del {host.name}")
    wait_until(lambda: not serving(host.name), what="the engine to end with its interface")
    if arguments:  # it may not remove the file from root's folder; the next one replaces it
        (SOCKETS / f"{host.name}.sock").unlink()


@pytest.mark.ours
@pytest.mark.parametrize("name", ["sallyport-wg", "sallyportd"])
def test_what_is_shipped_knows_no_hooks_of_tests(name):
    shipped = pathlib.Path(program(BUILD, name)).read_bytes()
    hooked = pathlib.Path(program(BUILD, name, {"SALLYPORT_TEST_CLOCK_RATE": "1"})).read_bytes()
    assert b"SALLYPORT_TEST" in hooked, "or this test sees nothing"
    assert b"SALLYPORT_TEST" not in shipped

@pytest.fixture
def host():
    with World() as world:
        world.host = world.space("host")
        world.name = world.interface()
        yield world


def serving(name):
    """The processes that serve an interface of that (unique) name."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if name.encode() in words and words[0].endswith(b"sallyport-wg"):
                found.append(int(folder.name))
    return found


def gone(world):
    path = SOCKETS / f"{world.name}.sock"
    return not serving(world.name) and not path.exists() and world.name not in world.host.ip("-br link show")


def answers(path):
    """The socket is there before the engine is."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(2 * SLOW)
        try:
            s.connect(str(path))
            s.sendall(b"get=1\n\n")
            return bool(s.recv(1))
        except OSError:
            return False


def foreground(world, *arguments):
    process = world.host.start(ENGINE, "-f", *arguments, world.name, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: answers(SOCKETS / f"{world.name}.sock") or process.poll() is not None)
    return process


@pytest.mark.ours
def test_detaches_when_its_socket_answers(host):
    host.host.run(ENGINE, host.name)
    # no waiting here: that it returned is the promise
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(SOCKETS / f"{host.name}.sock"))
        s.sendall(b"get=1\n\n")
        answer = b""
        while not answer.endswith(b"\n\n"):
            answer += s.recv(4096)
        assert answer.endswith(b"errno=0\n\n")
    assert host.host.run("wg", "show", host.name).stdout.startswith(f"interface: {host.name}")
    pid, = serving(host.name)
    assert os.getsid(pid) == pid or os.getsid(pid) != os.getsid(0), "it left our session"
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: gone(host))


@pytest.mark.ours
def test_detached_process_holds_none_of_our_pipes(host):
    """A caller that reads the command's output to the end must get there."""
    with host.host.inside():
        done = subprocess.run([ENGINE, host.name], capture_output=True, timeout=5 * SLOW, check=True)
    assert done.returncode == 0


@pytest.mark.ours
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_signal_cleans_up(host, how):
    process = foreground(host)
    process.send_signal(how)
    assert process.wait(5 * SLOW) == 0
    assert gone(host)


@pytest.mark.ours
def test_link_deletion_ends_it(host):
    process = foreground(host)
    host.host.ip(f"link del {host.name}")
    assert process.wait(5 * SLOW) == 0
    assert gone(host)


@pytest.mark.ours
def test_removing_the_socket_file_ends_it(host):
    """How `wg-quick down` ended userspace implementations once, and what wireguard-go obeys."""
    process = foreground(host)
    (SOCKETS / f"{host.name}.sock").unlink()
    assert process.wait(5 * SLOW) == 0
    assert gone(host)


@pytest.mark.ours
def test_second_instance_is_refused_and_disturbs_nothing(host):
    process = foreground(host)
    for arguments in (["-f"], []):
        second = host.host.run(ENGINE, *arguments, host.name, check=False)
        assert second.returncode != 0
        assert host.name in second.stderr and "already" in second.stderr
    assert process.poll() is None
    assert host.host.run("wg", "show", host.name).stdout.startswith("interface")


@pytest.mark.ours
def test_stale_socket_file_is_replaced(host):
    first = foreground(host)
    first.kill()
    first.wait()
    assert (SOCKETS / f"{host.name}.sock").exists()
    wait_until(lambda: host.name not in host.host.ip("-br link show"))
    second = foreground(host)
    wait_until(lambda: host.host.run("wg", "show", host.name, check=False).returncode == 0)
    assert second.poll() is None


@pytest.mark.ours
def test_socket_is_for_root_only(host):
    foreground(host)
    mode = (SOCKETS / f"{host.name}.sock").stat()
    assert stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == 0
    refused = host.host.run(*NOBODY, "wg", "show", host.name, check=False)
    assert refused.returncode != 0


@pytest.mark.ours
def test_without_privilege_it_says_so(host):
    # a copy, since nobody need be able to reach the build folder
    copy = host.folder / "sallyport-wg"
    copy.write_bytes(ENGINE.read_bytes())
    copy.chmod(0o755)
    host.folder.chmod(0o755)
    said = host.host.run(*NOBODY, copy, "-f", host.name, check=False)
    assert said.returncode not in (0, 2)
    assert re.search("root|CAP_NET_ADMIN", said.stderr), said.stderr


@pytest.mark.ours
def test_without_tun_it_says_so(host):
    said = host.host.run("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$0" -f "$1"',
                         ENGINE, host.name, check=False)
    assert said.returncode == 1
    assert "/dev/net/tun" in said.stderr
    assert not (SOCKETS / f"{host.name}.sock").exists()


@pytest.mark.ours
def test_taken_interface_name_is_refused(host):
    host.host.ip(f"link add {host.name} type bridge")
    said = host.host.run(ENGINE, "-f", host.name, check=False)
    assert said.returncode == 1 and host.name in said.stderr
    assert host.name in host.host.ip("-br link show"), "and left alone"


@pytest.mark.ours
@pytest.mark.parametrize("arguments", [
    [], ["a", "b"], ["--workers", "0", "x"], ["--workers", "65", "x"], ["--crypto", "rot13", "x"], ["--mtu", "1", "x"],
    ["sixteencharacters"], ["a/b"], [".."], [""], ["--no-such-option", "x"]], ids=" ".join)
def test_wrong_arguments_are_usage_errors(host, arguments):
    said = host.host.run(ENGINE, "-f", *arguments, check=False, timeout=5)
    assert said.returncode == 2 and said.stderr


@pytest.mark.ours
def test_attaches_to_a_persistent_tun(host):
    host.host.ip(f"tuntap add {host.name} mode tun", f"link set {host.name} mtu 1380")
    process = foreground(host, "--workers", "1")
    if process.poll() is not None:
        assert "TUN" in process.stderr.read()  # one without multi_queue need not be usable, but then it is said
        return
    assert "mtu 1380" in host.host.ip(f"link show {host.name}")
    process.terminate()
    process.wait(5 * SLOW)
    assert host.name in host.host.ip("-br link show"), "what it did not make it does not remove"


@pytest.mark.ours
def test_crash_leaves_nothing_that_blocks_a_restart(host):
    for _ in range(3):
        process = foreground(host)
        wait_until(lambda: host.host.run("wg", "show", host.name, check=False).returncode == 0)
        process.kill()
        process.wait()
        time.sleep(0.02)
