"""Handshakes: how many a core does, what idling routers cost, all of them coming back at once, and an attacker among
them. The topology is that of crowds.py; where all CPUs work for both sides, nobody is pinned."""
import time

from .crowds import connect
from .lab import CPUS, GATEWAY_CPU, OTHER_CPUS, SOURCES6, Lab, Swarm, median, udp_counters

STORM_TRIES = 6  # initiations of a router, one in 5 s
MULTIPLICATIONS = 4  # of a responder: es, its ephemeral key, ee, se; with a router new to it also ss


def idling(hub, swarm, **options):
    """Percent of a core over a time of keepalives."""
    before, began = hub.cpu_s(), time.monotonic()
    result = swarm.do("idle", **options)
    percent = (hub.cpu_s() - before) / (time.monotonic() - began) * 100
    if result["connected"] < 1:
        raise RuntimeError("nobody is connected")
    return percent


def multiplications(library, swarm, seconds=0.2):
    """X25519 a second on the gateway's core, while the routers' core works as hard as it does in handshakes: what two
    cores do at once slows both down."""
    swarm.begin("x25519", seconds=seconds * 1.1)
    rate = library.do("x25519", seconds=seconds)["per_s"]
    swarm.finish()
    return rate


def handshakes(bench):
    """All routers connect, 64 at a time, to a gateway with one core; then some do so again and again, now that the
    gateway has their static-static secrets; then all idle. Their own share of the first message is made beforehand, so
    that the gateway is what limits. What the library alone does is measured on the same core before and after each of
    these rounds, which are short: a shared machine is now quicker and now slower. `rekeying`: whoever sends keepalives
    has a new handshake every 125 s too, as routers do."""
    peers, again, rounds = (10_000, 1000, 5) if bench.quick else (100_000, 2000, 25)
    seconds = 5 if bench.quick else 25
    rates, percents = [], []
    with Lab(bench) as lab:
        hub, swarm = lab.crowd(bench.engine, peers, GATEWAY_CPU, OTHER_CPUS)
        library = Swarm(lab, hub.far, 1, cpus=GATEWAY_CPU)
        swarm.do("load", socket=str(hub.socket))
        swarm.do("prepare")
        before = hub.cpu_s()
        result = connect(swarm, seconds=120, awake=True)
        first_cpu = hub.cpu_s() - before
        connected_bytes = hub.rss()
        alone = [multiplications(library, swarm)]
        for _ in range(rounds):
            swarm.do("prepare", peers=again)
            before = hub.cpu_s()
            connect(swarm, peers=again, seconds=30, awake=True)
            rates.append(again / (hub.cpu_s() - before))
            alone.append(multiplications(library, swarm))
            percents.append(rates[-1] / (sum(alone[-2:]) / 2 / MULTIPLICATIONS) * 100)
        library.close()
        keepalives = idling(hub, swarm, seconds=seconds)
        rekeying = idling(hub, swarm, seconds=seconds, rekey=125)
    scale = 100_000 / peers
    return {
        "x25519_per_s": median(alone),
        "handshakes_per_core_s": median(rates),
        "handshakes_first_per_core_s": peers / first_cpu,
        "handshakes_wall_per_s": peers / result["seconds"],
        "handshakes_percent_of_x25519": median(percents),
        "handshake_latency_ms_p99": result["latency_ms_p99"],
        "bytes_per_connected_peer": connected_bytes / peers,
        "idle_cpu_percent_100k": keepalives * scale,
        "idle_cpu_percent_100k_rekeying": rekeying * scale,
    }


def storm(bench):
    """The engine ends, starts and is loaded again; all routers begin anew within one second and go on every 5 s until
    answered."""
    return storm_from(bench, "storm_100k")


def storm6(bench):
    """The same over IPv6, each router in a /64 of its own."""
    return storm_from(bench, "storm6_100k", sources=SOURCES6)


def storm_from(bench, name, **swarm_options):
    peers = 10_000 if bench.quick else 100_000
    with Lab(bench) as lab:
        hub, swarm = lab.crowd(bench.engine, peers, **swarm_options)
        swarm.do("load", socket=str(hub.socket))
        connect(swarm, seconds=20, peers=1000)
        # Each router has a CPU of its own in the field; here all share one with the gateway. What they send is made
        # beforehand, or their backlog would make them deaf to answers until these are too late.
        swarm.do("prepare", tries=STORM_TRIES)
        hub.end()
        hub.start().up(["10.0.0.1/32"], ["10.16.0.0/12"])
        swarm.do("load", socket=str(hub.socket))
        before, waited, rss = hub.cpu_s(), hub.waited_s(), hub.rss()
        result = swarm.do("connect", spread=1, seconds=90)
        cpu, waited, grown = hub.cpu_s() - before, hub.waited_s() - waited, hub.rss() - rss
    if result["own_drops"]:
        print(f"  {name}: the swarm's own sockets were full {result['own_drops']} times: it limits", flush=True)
    return {
        f"{name}_s": result["seconds"],
        f"{name}_back_percent": result["connected"] / peers * 100,
        # after how many initiations: who missed the first comes back 5 s later, and makes the tail
        f"{name}_back_by_1st_percent": within_retries(result, 0),
        f"{name}_back_by_2nd_percent": within_retries(result, 1),
        f"{name}_back_by_3rd_percent": within_retries(result, 2),
        f"{name}_latency_ms_p50": result["latency_ms_p50"],
        f"{name}_latency_ms_p99": result["latency_ms_p99"],
        f"{name}_engine_waited_for_cpu_s": waited,
        f"{name}_engine_cpu_s": cpu,
        f"{name}_routers_cpu_s": result["cpu_s"],
        f"{name}_routers_cpu_percent": result["own_cpu_percent"],
        f"{name}_routers_unread": result["own_drops"],
        f"{name}_least_s": (cpu + result["cpu_s"]) / len(CPUS),
        f"{name}_cookies": result.get("cookies", 0),
        f"{name}_initiations": result["initiations"],
        f"{name}_bytes_per_peer": grown / peers,
    }


def within_retries(result, retries=3):
    """Percent of the routers that needed at most so many more initiations than one."""
    return sum(result["connected_by_try"][:retries + 1]) / result["peers"] * 100


def flooded(bench, lab, hub, peers, seconds, named=0, **swarm_options):
    """Routers connect while somebody floods: (their result, the flood's). `named`: the forgeries bear the public keys of so
    many of the routers."""
    routers = Swarm(lab, hub.far, peers, **swarm_options)
    attacker = Swarm(lab, hub.far, named or 1, sources="198.19.0.0/16")
    routers.do("load", socket=str(hub.socket))
    routers.do("prepare")
    attacker.begin("flood", rate=200_000, seconds=seconds, named=named > 0)
    time.sleep(1)
    result = routers.do("connect", spread=2, seconds=seconds - 2)
    flood = attacker.finish()
    routers.close()
    attacker.close()
    return result, flood


def median_try(result):
    """Which initiation the median router came in by."""
    half, seen = result["peers"] / 2, 0
    for tries, count in enumerate(result["connected_by_try"], 1):
        seen += count
        if seen >= half:
            return tries
    return float("inf")


def named_flood(bench, workers, peers, seconds):
    """Forgeries in the name of routers, as each tenant and each former customer can make them, against so many workers."""
    with Lab(bench) as lab:
        hub, _ = lab.crowd(bench.engine, 1, split=True, arguments=("--workers", str(workers)))
        result, attack = flooded(bench, lab, hub, peers, seconds, named=min(64, peers))
    return {
        f"flood_named_{workers}_success_percent": within_retries(result),
        f"flood_named_{workers}_median_try": median_try(result),
        f"flood_named_{workers}_per_s": attack["per_s"],
    }


def flood(bench):
    """200,000 forged initiations per second with a valid mac1, from many addresses, while routers connect: 1,000 at
    addresses of their own, then as many at the ports of one address, as behind a carrier's NAT; then such that name a
    router, by count of workers. `unread` is what came and found the sockets' buffers full: no CPU to read it."""
    peers, seconds = (200, 12) if bench.quick else (1000, 21)
    with Lab(bench) as lab:
        hub, _ = lab.crowd(bench.engine, 1, split=True)
        own, attack = flooded(bench, lab, hub, peers, seconds)
        counters = udp_counters(hub.namespace)
        rss = hub.rss()
        cpu, began = hub.cpu_s(), time.monotonic()
        shared, _ = flooded(bench, lab, hub, peers, seconds, sources="198.18.7.7/32", sockets=peers)
        cores = (hub.cpu_s() - cpu) / (time.monotonic() - began)
        grown = hub.rss() - rss
    figures = {
        "flood_legit_success_percent": within_retries(own),
        "flood_legit_median_try": median_try(own),
        "flood_nat_success_percent": within_retries(shared),
        "flood_per_s": attack["per_s"],
        "flood_unread_percent": counters["RcvbufErrors"] / (counters["RcvbufErrors"] + counters["InDatagrams"]) * 100,
        "flood_latency_ms_p50": own.get("latency_ms_p50", 0),
        "flood_engine_cores": cores,
        "flood_memory_growth_bytes": grown,
    }
    for workers in (2, 4, 16):
        figures |= named_flood(bench, workers, peers, seconds)
    return figures
