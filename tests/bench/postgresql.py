#!/usr/bin/python3
"""The control plane on PostgreSQL: a server of the system's package on this host, fsync on, nothing tuned but its caches.

usage: tests/bench/postgresql.py [--build FOLDER] [--tenants N] [--adds N]

Prints a table beside the targets and merges into FOLDER/bench.json:

    pg_bulk_create_per_s    routers created in bulk, each with a tenant of its own, durable and in the engine; they bring
                            their keys
    pg_add_one_p50_ms, pg_add_one_p99_ms   one more router among all of these, request to peer installed
    pg_restart_reconciled_s sallyportd after kill -9: start until in sync

Needs root: the gateway runs in a network namespace of its own. Server, loader and gateway share the machine.
"""
import argparse
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from harness import load  # noqa: E402
from harness.figures import merge  # noqa: E402
from harness.gateway import Gateway  # noqa: E402
from harness.netns import Namespace, interrupt_once, short_name  # noqa: E402
from harness.postgresql import Server  # noqa: E402

# (target, whether more is better)
TARGETS = {"pg_bulk_create_per_s": (5000, True), "pg_add_one_p99_ms": (15, False)}
CACHES = {"shared_buffers": "512MB", "max_wal_size": "4GB"}


def measure(build, tenants, adds):
    namespace = Namespace(f"{short_name('sp')}-pgbench")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-pgbench-"))
    gateway = None
    try:
        with Server(fsync=True, settings=CACHES) as server:
            try:
                gateway = Gateway(build, folder, namespace, {"store": {"url": server.database("fleet")},
                                                             "gateway": {"endpoint": "vpn.example.com"}})
                gateway.start(timeout=60)
                bodies = load.tenants_bodies(tenants, "loaded")
                seconds, items = load.bulk_create(gateway.socket, bodies, bar=load.Bar("loading", tenants))
                figures = {"pg_bulk_create_per_s": tenants / seconds}
                ids = [item["id"] for item in items]
                each = load.add_each(gateway.api, random.sample(ids, min(adds, len(ids))))
                figures["pg_add_one_p50_ms"] = load.percentile(each, 50) * 1000
                figures["pg_add_one_p99_ms"] = load.percentile(each, 99) * 1000
                gateway.kill()
                began = time.monotonic()
                gateway.start(timeout=120)
                figures["pg_restart_reconciled_s"] = time.monotonic() - began
                peers, routers = gateway.status()["backend"]["peers"], tenants + len(each)
                if peers != routers:
                    raise RuntimeError(f"{peers} peers for {routers} routers")
                return figures
            finally:
                if gateway:
                    gateway.close()
    finally:
        namespace.close()
        shutil.rmtree(folder, ignore_errors=True)


def show(figures):
    for name, value in figures.items():
        target, more = TARGETS.get(name, (None, True))
        good = target is None or (value >= target if more else value <= target)
        told = "" if target is None else f"   target: {'at least' if more else 'at most'} {target:,}{'' if good else '  MISSED'}"
        print(f"{name:32} {value:>12,}{told}")


def main():
    parser = argparse.ArgumentParser(description="Measures the control plane on PostgreSQL.")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--adds", type=int, default=1000)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("postgresql: needs root for its network namespace")
    interrupt_once()
    figures = {name: round(value, 3) for name, value in
               measure(arguments.build, arguments.tenants, arguments.adds).items()}
    show(figures)
    if arguments.tenants == 100_000:
        merge(pathlib.Path(arguments.build) / "bench.json", figures)
    else:
        print("not written to bench.json: its figures are those of 100,000 tenants")


if __name__ == "__main__":
    main()
