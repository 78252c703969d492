#!/usr/bin/python3
"""Three gateways on one PostgreSQL (fsync on) that hold 100,000 routers.

usage: tests/bench/fleet.py [--build FOLDER] [--routers N] [--adds N] [--idle SECONDS] [--only NAME[,NAME]]

Prints a table and merges into FOLDER/bench.json:

    pg_propagate_p50_ms, _p99_ms   one more router at one gateway: request to peer installed at all three    (<= 500)
    pg_full_sync_100k_s            a new gateway joins: its start until its data plane holds all routers     (<= 5)
    pg_writes_per_s_idle_100k      rows written while all routers are connected to one gateway, send a keepalive every
                                   25 s and make a new session every 120 s                                   (< 50)

The last one is of the steady state: SALLYPORT_TEST_USAGE_REST makes the gateway write rows whose turn it is from the
beginning, where otherwise none would have one within the first ten minutes. Needs root: everything runs in network
namespaces of its own. Clients, gateways and database share the machine.
"""
import argparse
import base64
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "fleet"), str(ROOT / "tests" / "bench")]
sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from nacl.bindings import crypto_scalarmult_base  # noqa: E402
from dataplane.lab import Swarm  # noqa: E402
from fleet import NAMES, Fleet, until  # noqa: E402
from harness import load  # noqa: E402
from harness.figures import merge  # noqa: E402
from harness.netns import Network, die_with_parent, interrupt_once  # noqa: E402
from harness.postgresql import Server  # noqa: E402

SOURCES = "198.18.0.0/16"  # the routers' addresses (RFC 2544)
TARGETS = {"pg_propagate_p99_ms": 500, "pg_full_sync_100k_s": 5, "pg_writes_per_s_idle_100k": 50}


def derived(kind, number, seed=b"swarm"):
    """A private key as the swarm derives it (tests/bench/swarm_routers.c; libsodium's crypto_kdf)."""
    key = hashlib.blake2b(seed, digest_size=32).digest()
    return hashlib.blake2b(b"", digest_size=32, key=key, salt=number.to_bytes(8, "little") + bytes(8),
                           person=kind.encode().ljust(8, b"\0") + bytes(8)).digest()


def bodies(count, per_request=2000):
    """Tenants with ten of the swarm's routers each."""
    made = []
    for first in range(0, count, per_request):
        tenants = []
        for start in range(first, min(first + per_request, count), 10):
            routers = [{"name": f"r{n}", "public_key":
                        base64.b64encode(crypto_scalarmult_base(derived("router", n))).decode()}
                       for n in range(start, min(start + 10, count))]
            tenants.append({"name": f"t{start}", "addressing": "private", "routers": routers})
        made.append(json.dumps({"tenants": tenants}).encode())
    return made


class Counter:
    """How many peers an engine has: one cheap question over its socket."""

    def __init__(self, member):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(f"/var/run/wireguard/{member.interface}.sock")

    def __call__(self):
        self.socket.sendall(b"get=1\nsallyport=1\nonly=device\n\n")
        said = b""
        while not said.endswith(b"\n\n"):
            said += self.socket.recv(65536)
        for line in said.split(b"\n"):
            if line.startswith(b"peer_count="):
                return int(line[11:])
        raise RuntimeError("the engine does not say how many peers it has")


def propagate(fleet, adds):
    """Seconds from request to installed at all gateways, each."""
    for member in fleet.members:
        member.api.close()  # the server has ended a connection that was silent for long
    tenants = [fleet.tenant(f"p{i}") for i in range(3)]
    fleet.in_step(30)
    time.sleep(1)
    counters = [Counter(member) for member in fleet.members]
    seconds = []
    for number in range(adds):
        before = [counter() for counter in counters]
        body = {"name": f"p{number}", "public_key": load.public_key()}
        began = time.monotonic()
        fleet.members[number % 3].api.post(f"/tenants/{tenants[number % 3]}/routers", body)
        waiting = list(zip(counters, before))
        while waiting:
            waiting = [(counter, count) for counter, count in waiting if counter() <= count]
        seconds.append(time.monotonic() - began)
        time.sleep(0.01)
    return seconds


def full_sync(fleet, routers):
    """Seconds from the start of a new gateway until its data plane holds everything."""
    member = fleet.join("west")
    began = time.monotonic()
    member.start(timeout=120)
    seconds = time.monotonic() - began
    held = Counter(member)()
    if held < routers:
        raise RuntimeError(f"the new gateway is in sync with {held} of {routers} peers")
    return seconds


def rows_written(fleet):
    return int(fleet.server.sql("SELECT COALESCE(SUM(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables",
                                fleet.database))


def idle(fleet, swarm, routers, seconds):
    """Rows written a second while all are connected to one gateway and have nothing to say."""
    told = swarm.do("connect", seconds=120, window=256)
    print(f"  connected: {told.get('connected')} of {routers}", file=sys.stderr)
    north = fleet.north
    told, began = 0, time.monotonic()
    while told < routers * 0.99 and time.monotonic() - began < 90:  # the storm's rows are still being written
        swarm.do("idle", seconds=3, keepalive=25, rekey=120)
        told = int(fleet.server.sql("SELECT COUNT(*) FROM vpn_configurations WHERE connected_since IS NOT NULL",
                                    fleet.database))
    print(f"  {told} sessions are in the database {time.monotonic() - began:.0f} s later", file=sys.stderr)
    # A backend of PostgreSQL that has nothing to do reports what it wrote up to 10 s late: that was the storm's.
    swarm.do("idle", seconds=15, keepalive=25, rekey=120)
    before, began = rows_written(fleet), time.monotonic()
    swarm.do("idle", seconds=seconds, keepalive=25, rekey=120)
    connected = north.status()["counts"]["connected_routers"]
    time.sleep(1.2)  # statistics reach the server's tables a second late
    rate = (rows_written(fleet) - before) / (time.monotonic() - began)
    if connected < routers * 0.99:
        raise RuntimeError(f"only {connected} of {routers} routers were still connected")
    return rate


def measure(build, arguments):
    figures = {}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-fleet-"))
    folder.chmod(0o755)
    wanted = arguments.only.split(",") if arguments.only else ["propagate", "sync", "idle"]
    try:
        with Server(fsync=True, settings={"max_connections": "80", "shared_buffers": "256MB"}) as server, \
                Network("spb") as network:
            names = NAMES if "propagate" in wanted else ("north",)
            fleet = Fleet(build, folder, network, server, "bench", names,
                          environment={"SALLYPORT_TEST_USAGE_REST": "0"})
            try:
                fleet.key.write_text(base64.b64encode(derived("hub", 0)).decode() + "\n", encoding="ascii")
                fleet.start()
                seconds, _ = load.bulk_create(fleet.north.socket, bodies(arguments.routers),
                                              bar=load.Bar("loading", arguments.routers // 10))
                print(f"  {arguments.routers / seconds:,.0f} routers/s", file=sys.stderr)
                for member in fleet.members:
                    count = Counter(member)
                    if not until(lambda c=count: c() >= arguments.routers, 60, every=0.2):
                        raise RuntimeError(f"{member.name} does not follow: {count()} peers")
                if "propagate" in wanted:
                    times = propagate(fleet, arguments.adds)
                    figures["pg_propagate_p50_ms"] = load.percentile(times, 50) * 1000
                    figures["pg_propagate_p99_ms"] = load.percentile(times, 99) * 1000
                if "sync" in wanted:
                    figures["pg_full_sync_100k_s"] = full_sync(fleet, arguments.routers)
                    fleet.west.close()
                if "idle" in wanted:
                    for member in fleet.members[1:3]:
                        member.close()
                    figures["pg_writes_per_s_idle_100k"] = with_swarm(build, fleet, arguments)
            finally:
                fleet.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return figures


class Crowd(Swarm):
    """A swarm that dials a gateway of the fleet."""

    def __init__(self, build, namespace, peers, gateway):  # pylint: disable=super-init-not-called
        program = pathlib.Path(build).resolve() / "tests" / "bench" / "swarm"
        command = [str(program), "--peers", str(peers), "--sources", SOURCES, "--sockets", "16",
                   "--server", f"{gateway.address}:51820"]
        self.process = subprocess.Popen(namespace.command(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        preexec_fn=die_with_parent)


def with_swarm(build, fleet, arguments):
    namespace = fleet.network.host("swarm")
    for key in ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.eth0.rp_filter"):
        namespace.sysctl(key, 0)
        fleet.north.namespace.sysctl(key, 0)
    namespace.ip("route", "add", "local", SOURCES, "dev", "lo")
    fleet.north.namespace.ip("route", "add", SOURCES, "via", namespace.address)
    swarm = Crowd(build, namespace, arguments.routers, fleet.north)
    try:
        return idle(fleet, swarm, arguments.routers, arguments.idle)
    finally:
        swarm.close()


def main():
    parser = argparse.ArgumentParser(description="Measures gateways that share a PostgreSQL.")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--routers", type=int, default=100000)
    parser.add_argument("--adds", type=int, default=300)
    parser.add_argument("--idle", type=float, default=60)
    parser.add_argument("--only", default="", metavar="NAME[,NAME]", help="propagate, sync, idle")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("fleet: needs root for its network namespaces")
    interrupt_once()
    figures = measure(arguments.build, arguments)
    for name, value in sorted(figures.items()):
        target = f"  (at most {TARGETS[name]})" if name in TARGETS else ""
        print(f"{name:32} {value:10.2f}{target}")
    if arguments.routers == 100000:
        merge(pathlib.Path(arguments.build) / "bench.json", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
