"""Limits and counters of a tenant: in each direction, exact over time, and nothing for who has none."""
import time

import packets
from scene import A, B, HUB4, HUB6, udp

SIZE = 1000  # of each packet, whole
BURST_BITS = 8 * 65535  # the least there is
FLOOD = udp("10.1.0.1", HUB4, bytes(SIZE - 28))


def flood(scene, packet, count):
    """Returns the seconds it took."""
    began = time.monotonic()
    for _ in range(count):
        scene.routers.send(packet)
    return time.monotonic() - began


def usage(gate, tenant=A):
    return gate.tenants()[tenant]


def test_bits_per_second_from_routers(scene, gate):
    rate = 4_000_000
    gate.do("tenant", A, f"bits={rate}")
    took = flood(scene, FLOOD, 600)
    passed = usage(gate)["rx_bytes"] * 8
    burst = max(BURST_BITS, rate // 5)
    # one packet more than the burst, which goes into debt
    assert burst <= passed <= burst + took * rate + 2 * SIZE * 8
    assert gate.counters()["drop.over_limit"] == 600 - usage(gate)["rx_packets"] > 0
    assert usage(gate)["dropped"] == 600 - usage(gate)["rx_packets"]


def test_the_average_is_exact(scene, gate):
    rate = 800_000
    gate.do("tenant", A, f"bits={rate}")
    flood(scene, FLOOD, 200)  # the burst is gone
    before, began = usage(gate)["rx_bytes"], time.monotonic()
    while time.monotonic() < began + 2:
        flood(scene, FLOOD, 5)
        time.sleep(0.002)
    took = time.monotonic() - began
    assert abs((usage(gate)["rx_bytes"] - before) * 8 / took / rate - 1) < 0.03


def test_packets_per_second_from_routers(scene, gate):
    gate.do("tenant", A, "packets=1000")
    took = flood(scene, FLOOD, 1500)
    passed = usage(gate)["rx_packets"]
    assert 200 <= passed <= 200 + took * 1000 + 2


def test_limits_hold_in_each_direction_by_itself(scene, gate):
    gate.do("tenant", A, "packets=10")
    took = flood(scene, FLOOD, 200)
    assert 64 <= usage(gate)["rx_packets"] <= 64 + took * 10 + 2
    scene.listen(0)
    began = time.monotonic()
    for _ in range(200):
        scene.hub[0].sendto(b"x", ("10.1.0.1", 5000))
    most = 64 + (time.monotonic() - began) * 10 + 2
    assert 64 <= usage(gate)["tx_packets"] <= most
    assert 64 <= len(scene.listen()) <= most


def test_a_packet_refused_for_its_bits_costs_no_packet(scene, gate):
    gate.do("tenant", A, "bits=1", "packets=100000")
    flood(scene, FLOOD, 500)
    passed = usage(gate)["rx_packets"]
    assert passed == BURST_BITS // (SIZE * 8) + 1
    gate.do("tenant", A, "packets=100000")
    flood(scene, FLOOD, 500)
    assert usage(gate)["rx_packets"] == passed + 500


def test_tenants_do_not_share_a_limit(scene, gate):
    gate.do("tenant", A, "packets=10")
    gate.do("tenant", B, "packets=10")
    flood(scene, FLOOD, 200)
    assert scene.fate(udp("10.2.0.1", HUB4)) == "hub"


def test_no_limit_drops_nothing_and_a_limit_taken_away_ends_at_once(scene, gate):
    gate.do("tenant", A, "bits=1", "packets=1")
    flood(scene, FLOOD, 300)
    gate.do("tenant", A)
    before = usage(gate)["rx_packets"]
    flood(scene, FLOOD, 300)
    assert usage(gate)["rx_packets"] == before + 300


def test_site_to_site_counts_both_ways(scene, gate):
    scene.fate(udp("10.1.0.1", "192.168.1.9", bytes(72)))
    tenant = usage(gate)
    assert (tenant["rx_packets"], tenant["rx_bytes"], tenant["tx_packets"], tenant["tx_bytes"]) == (1, 100, 1, 100)


def test_bytes_and_packets_are_those_of_the_inner_packets(scene, gate):
    for size in (28, 29, 500, 1420):
        scene.fate(udp("10.1.0.1", HUB4, bytes(size - 28)))
    scene.fate(udp("fd00::1:1", HUB6, bytes(1000)))
    scene.hub[0].sendto(bytes(100), ("10.1.0.2", 5000))
    tenant = usage(gate)
    assert (tenant["rx_packets"], tenant["rx_bytes"]) == (5, 28 + 29 + 500 + 1420 + 1048)
    assert (tenant["tx_packets"], tenant["tx_bytes"]) == (1, 128)
    assert usage(gate, B) == {**usage(gate, B), "rx_packets": 0, "tx_packets": 0, "dropped": 0}


def test_answers_are_few(scene, gate):
    took = flood(scene, udp("10.1.0.1", "10.2.0.1"), 500)
    answered = gate.counters()["answered"]
    assert 50 <= answered <= 50 + took * 100 + 2
    assert len(scene.listen()) == answered
    assert gate.counters()["drop.prohibited"] == 500
    # another tenant's share is its own
    assert scene.fate(udp("10.2.0.1", "10.1.0.1")) == "prohibited"


def test_what_is_refused_is_counted_as_received(scene, gate):
    scene.fate(packets.ip4("10.1.0.1", "10.2.0.1", packets.ICMP, packets.echo()))
    assert usage(gate)["rx_packets"] == 1 and usage(gate)["dropped"] == 1
