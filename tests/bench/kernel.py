#!/usr/bin/python3
"""The kernel backend beside wireguard-tools on a stock kernel, and what isolation costs a packet.

usage: tests/bench/kernel.py [--build FOLDER] [--only PART[,PART]...] [--peers N] [--runs N] [--quick]

Everything runs in the virtual machine (tests/kernel/vm: software emulation), so only ratios of one boot count; each is
the median of --runs boots. Prints a table and merges the figures into FOLDER/bench.json. PART: peers (load, add one,
read all: ours over wg's), isolation (nanoseconds a packet with many tenants over those with ten), sweep (every power of
two of peers and its neighbours, up to 131,072, read whole).

Ten tenants are measured twice: with as many routers as the many have between them, which is what the target compares,
and with one router each, which all fit in a CPU's cache. Where this machine's own kernel can run the isolation program,
it is measured there too, under names that end in _native.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.dont_write_bytecode = True

from harness.figures import merge  # noqa: E402

VM = str(ROOT / "tests" / "kernel" / "vm")
POWERS = [count for power in range(8, 18) for count in (2 ** power - 1, 2 ** power, 2 ** power + 1) if count <= 131072]

# name: (what must hold, how to check it)
TARGETS = {
    "kernel_load_100k_vs_wg_setconf": ("at most 1.0", lambda value: value <= 1.0),
    "kernel_add_one_vs_wg_set": ("at most 0.2", lambda value: value <= 0.2),
    "kernel_stats_100k_vs_wg_dump": ("at most 0.8", lambda value: value <= 0.8),
    "isolation_100k_over_10": ("at most 1.5", lambda value: value <= 1.5),
    "isolation_100k_over_10_native": ("at most 1.5", lambda value: value <= 1.5),
}


class Bench:
    def __init__(self, given):
        self.build = pathlib.Path(given.build).resolve()
        self.peers, self.runs = given.peers, given.runs

    def program(self, path):
        full = self.build / path
        if not full.exists():
            raise FileNotFoundError(f"{full} is missing; build it first: ninja -C {self.build}")
        return str(full)

    def in_machine(self, *command, timeout=900):
        """The output of a program in the virtual machine."""
        with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as folder:
            done = subprocess.run([VM, "--folder", folder, "--build", str(self.build), "--memory", "3072",
                                   "--timeout", str(timeout), *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    def medians(self, measure):
        """Of the figures that `measure` returns each time."""
        runs = [measure() for _ in range(self.runs)]
        return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def read_json(text):
    return json.loads(text[text.index("{"):text.rindex("}") + 1])


def peers(bench):
    def once():
        said = read_json(bench.in_machine(bench.program("tests/bench/bench_kernel"), "--keep", "--peers",
                                          str(bench.peers), "peers"))
        return {
            "kernel_load_100k_vs_wg_setconf": said["kernel_load_100k_vs_wg_setconf"],
            "kernel_add_one_vs_wg_set": said["kernel_add_one_vs_wg_set"],
            "kernel_stats_100k_vs_wg_dump": said["kernel_stats_100k_vs_wg_dump"],
            "kernel_load_100k_s_emulated": said["load_s"], "wg_setconf_100k_s_emulated": said["wg_setconf_s"],
            "kernel_add_one_s_emulated": said["add_one_s"], "wg_set_s_emulated": said["wg_set_s"],
            "kernel_stats_100k_s_emulated": said["stats_s"], "wg_dump_100k_s_emulated": said["wg_dump_s"],
        }
    return bench.medians(once)


def isolation_figures(said, ending):
    return {f"isolation_ns_per_packet_100k{ending}": said["all_tenants"]["mean_ns"],
            f"isolation_ns_per_packet_10{ending}": said["ten_tenants_same_routers"]["mean_ns"],
            f"isolation_ns_per_packet_10_routers{ending}": said["ten_tenants_ten_routers"]["mean_ns"],
            f"isolation_100k_over_10{ending}": said["over_ten_tenants_same_routers"],
            f"isolation_100k_over_10_routers{ending}": said["over_ten_tenants_ten_routers"]}


def isolation(bench):
    program = bench.program("tests/bench/isolation")
    command = [program, "--tenants", str(bench.peers)]
    figures = bench.medians(lambda: isolation_figures(
        read_json(bench.in_machine(*command, "--packets", "20000", "--rounds", "7")), ""))
    try:
        figures |= bench.medians(lambda: isolation_figures(
            read_json(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout), "_native"))
    except (subprocess.CalledProcessError, ValueError) as error:
        print(f"  not measured on this machine's own kernel: {(getattr(error, 'stderr', '') or str(error)).strip()}")
    return figures


def sweep(bench):
    counts = [count for count in POWERS if count <= max(bench.peers * 2, 256)]
    began = time.monotonic()
    bench.in_machine(bench.program("tests/kernel/sweep"), "fill", "sweep0", "plain", *map(str, counts))
    return {"kernel_dump_sweep_counts": len(counts), "kernel_dump_sweep_largest": max(counts),
            "kernel_dump_sweep_s_emulated": time.monotonic() - began}


PARTS = {"peers": peers, "isolation": isolation, "sweep": sweep}


def show(name, value):
    text = f"{value:>14,.0f}" if abs(value) >= 1000 else f"{value:>14.4f}"
    wanted, holds = TARGETS.get(name, ("", None))
    print(f"  {name:40}{text}  {wanted:14}{'' if not holds else '  yes' if holds(value) else '  NO'}".rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description="Measures the kernel backend in a virtual machine.")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--only", action="append", default=[], metavar="PART[,PART]")
    parser.add_argument("--peers", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="5,000 peers, once; not written to bench.json")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("kernel: needs root")
    if given.quick:
        given.peers, given.runs = 5_000, 1
    wanted = [name for names in given.only for name in names.split(",")] or list(PARTS)
    for name in wanted:
        if name not in PARTS:
            sys.exit(f"kernel: no part {name!r}; there are: {', '.join(PARTS)}")
    bench, measured, failed = Bench(given), {}, False
    for name in wanted:
        began = time.monotonic()
        try:
            found = PARTS[name](bench)
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            print(f"{name}: {error}", flush=True)
            failed = True
            continue
        measured |= {key: round(value, 4) for key, value in found.items()}
        print(f"{name} ({time.monotonic() - began:.0f} s)")
        for key, value in found.items():
            show(key, value)
    if given.quick or given.peers != 100_000:
        print("not written to bench.json: this is another size than its names tell")
    else:
        merge(bench.build / "bench.json", measured)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
