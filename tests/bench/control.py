#!/usr/bin/python3
"""The control plane at 100,000 tenants with one router each: what bulk create, one more router and a restart cost.

usage: tests/bench/control.py [--build FOLDER] [--tenants N] [--rounds N]

Prints a table and merges into FOLDER/bench.json:

    control_bulk_create_per_s       routers created, durable and in the engine; they bring their keys
    control_bulk_make_keys_per_s    the same with key pairs made by the gateway
    control_add_one_p50_ms, _p99_ms one more router among all of these, request to peer installed
    control_restart_reconciled_s    sallyportd after kill -9: start until in sync; worst of the rounds
    control_restart_packets_lost    by pings 20 times a second, both ways, of six routers, over all rounds
    engine_rss_mb_100k, daemon_rss_mb_100k    resident memory with all of them
    import_100k_s                   a WireGuard server's file of 100,000 peers: `sallyport import`, once as a plan and once
                                    for good, into a gateway of its own

Needs root: everything runs in network namespaces of its own. The clients, the loader and the gateway share the machine.
"""
import argparse
import ipaddress
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from harness import load  # noqa: E402
from harness.figures import merge  # noqa: E402
from harness.gateway import Gateway, program  # noqa: E402
from harness.netns import Network, interrupt_once  # noqa: E402
from harness.stage import Stage  # noqa: E402


def measure(build, tenants, adds, rounds):
    with Stage(build, "spb") as stage:
        stage.start()
        stage.add_tenants()
        if any(reached != asked for reached, asked in stage.reach().values()):
            raise RuntimeError("the routers do not reach the hub before anything is measured")
        figures = {"control_bulk_create_per_s": stage.load(tenants, bar=load.Bar("loading", tenants))}
        figures["engine_rss_mb_100k"], figures["daemon_rss_mb_100k"] = stage.memory()
        seconds = stage.add_one(adds)
        figures["control_add_one_p50_ms"] = load.percentile(seconds, 50) * 1000
        figures["control_add_one_p99_ms"] = load.percentile(seconds, 99) * 1000
        with stage.pings() as pings:
            figures["control_restart_reconciled_s"] = max(stage.restart() for _ in range(rounds))
            figures["control_restart_packets_lost"] = pings.mark()
        figures["control_bulk_make_keys_per_s"] = stage.load_making_keys(max(tenants // 20, 100))
        return figures


def measure_import(build, peers):
    """Seconds for both runs of the program, with all that it prints."""
    with tempfile.TemporaryDirectory() as folder, Network("spb") as network:
        file = pathlib.Path(folder) / "wg0.conf"
        with open(file, "w", encoding="ascii") as out:
            out.write("[Interface]\nAddress = 10.0.0.1/8\n")
            for n in range(peers):
                address = ipaddress.ip_address("10.0.0.2") + n
                out.write(f"\n# Client: r{n}\n[Peer]\nPublicKey = {load.public_key()}\n"
                          f"PresharedKey = {load.public_key()}\nAllowedIPs = {address}/32\n")
        settings = {"gateway": {"endpoint": "vpn.example.com"}}
        with Gateway(build, pathlib.Path(folder) / "gateway", network.host("gateway"), settings) as gateway:
            gateway.start()
            command = [program(build, "sallyport"), "--socket", str(gateway.socket), "import", str(file), "--tenant", "Acme"]
            begun = time.monotonic()
            for options in (["--dry-run"], []):
                done = subprocess.run(command + options, capture_output=True, text=True, check=False)
                if done.returncode or f"{peers:,}" not in done.stdout.splitlines()[-1]:
                    raise RuntimeError(f"the import failed: {done.stdout[-300:]} {done.stderr[-300:]}")
            return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description="Measures the control plane.")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--adds", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("control: needs root for its network namespaces")
    interrupt_once()
    figures = {name: round(value, 3) for name, value in
               measure(arguments.build, arguments.tenants, arguments.adds, arguments.rounds).items()}
    for name, value in figures.items():
        print(f"{name:32} {value:>12,}")
    figures["import_100k_s"] = round(measure_import(arguments.build, arguments.tenants), 3)
    print(f"{'import_100k_s':32} {figures['import_100k_s']:>12,}")
    if arguments.tenants == 100_000:
        merge(pathlib.Path(arguments.build) / "bench.json", figures)
    else:
        print("not written to bench.json: its figures are those of 100,000 tenants")


if __name__ == "__main__":
    main()
