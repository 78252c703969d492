#!/usr/bin/python3
"""The engine against a rival: throughput, CPU, latency, memory, handshakes.

usage: tests/bench/engine.py [--build FOLDER] [--only NAME[,NAME]...] [--quick]

Prints a table and merges the figures into FOLDER/bench.json. RIVAL= names the userspace WireGuard to compare with
(started with -f); default: wireguard-go. Debian 12's is of 2022; bookworm-backports has one of 2023, with offloads
(apt-get download wireguard-go/bookworm-backports, dpkg-deb -x). Both run in turns, on the same topology; figures are
medians. NAME is a part (tcp, latency, sites, small, hairpin, load, handshakes, storm, storm6, flood) or the name of a
figure.

Needs root: everything runs in network namespaces of its own. Both ends, the routers and their gateway share the
machine, and whatever else runs there makes every figure worse; those per CPU second least.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests" / "bench"))
sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from dataplane import crowds, storms, tunnels  # noqa: E402
from harness.figures import merge  # noqa: E402

PARTS = {
    "tcp": (tunnels.tcp, ("tcp_", "cpu_s_per_gb", "segments_")),
    "latency": (tunnels.latency, ("added_latency_",)),
    "sites": (tunnels.site_to_site, ("site_",)),
    "small": (crowds.small, ("small_", "bytes_per_peer_of_10k")),
    "hairpin": (crowds.hairpin, ("hairpin_",)),
    "load": (crowds.load, ("load_", "bytes_per_idle_peer", "idle_cpu_percent_1m")),
    "handshakes": (storms.handshakes, ("handshake", "x25519", "idle_cpu_percent_100k", "bytes_per_connected")),
    "storm": (storms.storm, ("storm_",)),
    "storm6": (storms.storm6, ("storm6_",)),
    "flood": (storms.flood, ("flood_",)),
}



def is_current(f):
    """Whether the rival is a wireguard-go with offloads, or something else; not the one that Debian 12 ships."""
    return "v0.0.2022" not in f["bench_rival"]


# name: (what must hold, how to check it from all figures)
TARGETS = {
    "tcp_gbit_s": ("8 x rival; 1.7 x a current one",
                   lambda f: f["tcp_gbit_s"] >= (1.7 if is_current(f) else 8) * f["tcp_gbit_s_rival"]),
    "cpu_s_per_gb": ("an old rival / 10",
                     lambda f: is_current(f) or f["cpu_s_per_gb"] <= f["cpu_s_per_gb_rival"] / 10),
    "cpu_s_per_gb_times_bare": ("at most 1.1", lambda f: f["cpu_s_per_gb_times_bare"] <= 1.1),
    "small_pps_per_core": ("500,000, and 5 x rival",
                           lambda f: f["small_pps_per_core"] >= max(500_000, 5 * f["small_pps_per_core_rival"])),
    "hairpin_gbit_s": ("above tcp_gbit_s", lambda f: f["hairpin_gbit_s"] > f["tcp_gbit_s"]),
    "added_latency_us_p50": ("0.6 x rival",
                             lambda f: f["added_latency_us_p50"] <= 0.6 * f["added_latency_us_p50_rival"]),
    "added_latency_us_p99": ("at most 1,000", lambda f: f["added_latency_us_p99"] <= 1000),
    "bytes_per_idle_peer": ("at most 512", lambda f: f["bytes_per_idle_peer"] <= 512),
    "load_100k_s": ("at most 1", lambda f: f["load_100k_s"] <= 1),
    "load_1m_s": ("at most 12", lambda f: f["load_1m_s"] <= 12),
    "handshakes_percent_of_x25519": ("at least 80", lambda f: f["handshakes_percent_of_x25519"] >= 80),
    "storm_100k_s": ("its CPU time + 10", lambda f: f["storm_100k_back_percent"] == 100
                     and f["storm_100k_s"] <= f["storm_100k_least_s"] + 10),
    "idle_cpu_percent_100k": ("below 5", lambda f: f["idle_cpu_percent_100k"] < 5),
    "idle_cpu_percent_1m_silent": ("below 0.1", lambda f: f["idle_cpu_percent_1m_silent"] < 0.1),
    "flood_legit_success_percent": ("at least 99", lambda f: f["flood_legit_success_percent"] >= 99),
    "flood_legit_median_try": ("at most 2", lambda f: f["flood_legit_median_try"] <= 2),
    **{f"flood_named_{workers}_{name}": (told, lambda f, key=f"flood_named_{workers}_{name}", holds=holds: holds(f[key]))
       for workers in (2, 4, 16)
       for name, told, holds in (("success_percent", "at least 99", lambda value: value >= 99),
                                 ("median_try", "at most 2", lambda value: value <= 2))},
}


class Bench:
    """What the parts share."""

    def __init__(self, build, rival, quick):
        self.build, self.quick = pathlib.Path(build).resolve(), quick
        self.engine, self.rival = str(self.program("src/engine/sallyport-wg")), rival
        self.contenders = (("", self.engine), ("_rival", rival))
        self.about = {}

    def program(self, path):
        full = self.build / path
        if not full.exists():
            raise FileNotFoundError(f"{full} is missing; build it first: ninja -C {self.build}")
        return full

    def note_engine(self, log):
        """What the engine said of itself when it started."""
        lines = log.splitlines()
        ready = [line.partition("ready on ")[2].partition("; ")[2] for line in lines if "ready on " in line]
        offloads = [line[line.index("offloads on: "):] for line in lines if "offloads on: " in line]
        self.about["bench_engine"] = "; ".join(ready[:1] + offloads[-1:])

    def scaled(self, figures, parts):
        """Times of a smaller run, stretched to the size that their names tell. Only a quick run does so."""
        return {name: value / parts.get(name, 1) for name, value in figures.items()}

    def describe(self):
        commands = json.loads((self.build / "compile_commands.json").read_text(encoding="utf-8"))
        compiler = subprocess.run([commands[0]["command"].split()[0], "--version"], capture_output=True, text=True,
                                  timeout=10, check=True).stdout.splitlines()[0]
        options = json.loads((self.build / "meson-info/intro-buildoptions.json").read_text(encoding="utf-8"))
        described = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in described if line.startswith("model name")),
                   platform.machine())
        build_type = next(option["value"] for option in options if option["name"] == "buildtype")
        said = subprocess.run([self.rival, "--version"], capture_output=True, text=True, timeout=10, check=False)
        self.about |= {
            "bench_kernel": platform.release(),
            "bench_cpu": f"{cpu}, {len(os.sched_getaffinity(0))} CPUs",
            "bench_compiler": f"{compiler}, {build_type}",
            "bench_load_before": f"{os.getloadavg()[0]:.1f}",
            "bench_rival": (said.stdout or said.stderr).strip().splitlines()[0],
        }


def wanted_parts(names):
    parts = set()
    for name in names:
        found = [part for part, (_, prefixes) in PARTS.items() if name == part or name.startswith(prefixes)]
        if not found:
            sys.exit(f"engine: no part or figure {name!r}; there are: {', '.join(PARTS)}")
        parts.update(found)
    return [part for part in PARTS if not names or part in parts]


def show(name, value, figures):
    text = f"{value:>14,.0f}" if abs(value) >= 1000 else f"{value:>14.3f}"
    wanted, holds = TARGETS.get(name, ("", None))
    try:
        verdict = "" if not holds else "  yes" if holds(figures) else "  NO"
    except KeyError:
        verdict = ""
    print(f"  {name:36}{text}  {wanted:30}{verdict}".rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description="Measures the engine against a rival.")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--only", action="append", default=[], metavar="NAME[,NAME]")
    parser.add_argument("--quick", action="store_true", help="shorter, with fewer peers; not written to bench.json")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("engine: needs root for its network namespaces")
    rival = shutil.which(os.environ.get("RIVAL") or "wireguard-go")
    if not rival:
        sys.exit("engine: no rival; install wireguard-go, or give RIVAL=/path/to/one")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = wanted_parts([name for names in arguments.only for name in names.split(",")])
    bench = Bench(arguments.build, rival, arguments.quick)
    bench.describe()
    if "release" not in bench.about["bench_compiler"]:
        print(f"  not a release build ({bench.about['bench_compiler']}): its figures say little")
    path = bench.build / "bench.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    measured, failed = {}, False
    for name in parts:
        began = time.monotonic()
        try:
            found = PARTS[name][0](bench)
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            print(f"{name}: {error}", flush=True)
            failed = True
            continue
        figures |= found | bench.about
        measured |= {key: round(value, 4) for key, value in found.items()}
        print(f"{name} ({time.monotonic() - began:.0f} s)")
        for key, value in found.items():
            show(key, value, figures)
    for key, value in bench.about.items():
        print(f"  {key:20} {value}")
    if arguments.quick:
        print("not written to bench.json: a quick run is no measurement")
    else:
        merge(path, measured | bench.about)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
