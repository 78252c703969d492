"""A kernel WireGuard server is adopted while its routers talk through it.

    router roof ---+
                   |    (wg0: Debian's kernel, keys and peers by wg(8))  ->  (the same wg0, sallyportd's)
    router cellar -+
"""
import configparser
import json
import os
import subprocess
import time

import pytest

from harness.client import Client, key_pair
from harness.gateway import Gateway, program
from harness.netns import Network
from harness.probe import Pings

BUILD = os.environ.get("SALLYPORT_BUILD", "build")
PAIRS = {"roof": "10.66.0.2", "cellar": "10.66.0.3"}


def run_in(namespace, *command, socket=None, check=True):
    environment = {key: value for key, value in os.environ.items() if key == "PATH"}
    if socket:
        environment["SALLYPORT_SOCKET"] = str(socket)
    done = subprocess.run(namespace.command(program(BUILD, "sallyport"), *command), capture_output=True, text=True,
                          env=environment, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture
def world():
    """(network, server's namespace, server, {name: router}, server's keys): stock WireGuard, all connected."""
    with Network("ka") as network:
        host = network.host("server")
        private, public = key_pair()
        keys = {name: key_pair() for name in PAIRS}
        conf = f"[Interface]\nAddress = 10.66.0.1/24\nListenPort = 51820\nPrivateKey = {private}\n" + "".join(
            f"\n# Client: {name}\n[Peer]\nPublicKey = {keys[name][1]}\nAllowedIPs = {address}/32\n"
            "PersistentKeepalive = 25\n" for name, address in PAIRS.items())
        clients = {}
        with Client(host, conf) as server:
            assert server.implementation == "kernel"
            try:
                for name, address in PAIRS.items():
                    clients[name] = Client(network.host(name), f"[Interface]\nPrivateKey = {keys[name][0]}\n"
                                           f"Address = {address}/32\n[Peer]\nPublicKey = {public}\n"
                                           f"AllowedIPs = 10.66.0.0/24\nEndpoint = {host.address}:51820\n"
                                           "PersistentKeepalive = 5\n").up()
                yield network, host, server, clients, conf
            finally:
                for client in clients.values():
                    client.close()


def gateway_for(tmp_path, host, server, kind, *options):
    config = tmp_path / "sallyport.conf"
    run_in(host, "init", "--from-interface", server.interface, "--endpoint", host.address, "--config", str(config),
           "--state-dir", str(tmp_path / "state"), *options)
    parsed = configparser.ConfigParser()
    parsed.read(config)
    settings = {section: dict(parsed[section]) for section in parsed.sections()}
    settings.setdefault("backend", {})["kind"] = kind
    gateway = Gateway(BUILD, tmp_path / "gateway", host, settings)
    gateway.interface = server.interface
    return gateway


def wait_for_api(gateway):
    until = time.monotonic() + 60
    while not gateway.socket.exists():
        assert time.monotonic() < until and gateway.process.poll() is None, gateway.log_tail()
        time.sleep(0.05)


@pytest.mark.parametrize("kind, pool", [("kernel", None), ("auto", None), ("kernel", "10.0.0.0/8")])
def test_sessions_survive_adoption(world, tmp_path, kind, pool):
    """Neither a session nor a single packet is lost: so many are on their way that the shortest gap meets some."""
    _, host, server, clients, conf = world
    file = tmp_path / "wg0.conf"
    file.write_text(conf)
    host.ip("link", "set", server.interface, "alias", "sallyport's predecessor")  # begins as our mark does, and is not
    targets = [(host, address) for address in PAIRS.values()] + [(client.namespace, "10.66.0.1")
                                                                 for client in clients.values()]
    with gateway_for(tmp_path, host, server, kind, *(["--pool", pool] if pool else [])) as gateway, \
            Pings(targets, per_second=5, patience=10) as pings:
        time.sleep(5)
        pings.mark()
        handshakes = server.wg("show", server.interface, "latest-handshakes")
        gateway.start(wait=False)
        wait_for_api(gateway)
        plan = run_in(host, "import", "--interface", server.interface, "--tenant", "Acme", "--adopt", "--dry-run",
                      socket=gateway.socket)
        assert "2 would be imported" in plan.stdout
        with Pings(targets, per_second=250, patience=10) as flood:  # what is only late is not lost
            done = run_in(host, "import", str(file), "--interface", server.interface, "--tenant", "Acme", "--adopt",
                          socket=gateway.socket)
            assert "is the gateway's now" in done.stdout
            status = gateway.wait_in_sync(60)
        assert status["backend"]["name"] == "kernel"
        assert flood.lost == 0, f"{flood.lost} of {flood.sent}: {flood.lost_by_address}"
        time.sleep(3)
        # the very same sessions: nobody shook hands anew
        assert server.wg("show", server.interface, "latest-handshakes") == handshakes
        assert pings.mark() == 0, pings.lost_by_address
        names = run_in(host, "router", "list", "Acme", "--names", socket=gateway.socket).stdout.split()
        assert sorted(names) == sorted(PAIRS)
        doctor = run_in(host, "doctor", "--json", "--state-dir", str(tmp_path / "state"), socket=gateway.socket,
                        check=False).stdout
        levels = {(item["check"], item["level"]) for item in json.loads(doctor)["findings"]}
        assert {("kernel", "good"), ("bpf", "good"), ("napi", "good"), ("key", "good"), ("version", "good")} <= levels
        # the kernel forwards from router to router, and nobody switched that on in here; the engine's needs do not count
        assert ("forwarding", "bad") in levels and not {check for check, _ in levels} & {"tun", "buffers"}, doctor
        again = run_in(host, "import", "--interface", server.interface, "--tenant", "Acme", "--adopt",
                       socket=gateway.socket)
        assert "0 imported, 2 there already" in again.stdout
        gateway.end()


def test_an_engine_cannot_take_over_a_kernel_interface_and_says_what_can(world, tmp_path):
    _, host, server, clients, _ = world
    with gateway_for(tmp_path, host, server, "engine") as gateway:
        gateway.start(wait=False)
        wait_for_api(gateway)
        refused = run_in(host, "import", "--interface", server.interface, "--tenant", "Acme", "--adopt",
                         socket=gateway.socket, check=False)
        assert refused.returncode == 1 and "kind = kernel" in refused.stderr, refused
        assert run_in(host, "tenant", "list", "--names", socket=gateway.socket).stdout == ""
        # without taking it over its peers can be imported, and wg0 is left alone
        done = run_in(host, "import", "--interface", server.interface, "--tenant", "Acme", socket=gateway.socket)
        assert done.stdout.startswith("2 imported")
        assert "alias" not in host.ip("link", "show", server.interface)
        gateway.end()
        assert len(server.wg("show", server.interface, "peers").split()) == 2
