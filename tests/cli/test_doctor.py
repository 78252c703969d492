"""Doctor on a real host: a namespace with a gateway in it."""
import json
import shutil
import subprocess

import pytest

from conftest import Cli
from test_adoption import InHost


@pytest.fixture
def doctor(gateway, tmp_path):
    """doctor(...) in the gateway's namespace: {(check, level)} of its findings, or the run itself without --json."""
    host = InHost(gateway.namespace, gateway.socket, tmp_path)

    def run(*options):
        return host("doctor", "--state-dir", str(gateway.folder), *options)
    return run


def found(done, check):
    return [item for item in json.loads(done.out)["findings"] if item["check"] == check]


def test_each_finding_says_what_why_and_the_line(doctor):
    done = doctor("--json")
    for item in done.json["findings"]:
        assert item["level"] in ("good", "note", "bad") and item["what"], item
        assert (item["level"] == "good") == (item["why"] == "" and item["mend"] == ""), item
    assert [item["level"] for item in found(done, "version") + found(done, "tun") + found(done, "key")] == ["good"] * 3
    text = doctor().out
    assert "note  IPv4 forwarding is off\n      why:  " in text and "\n      mend: sysctl -w net.ipv4.ip_forward=1" in text


@pytest.mark.skipif(not shutil.which("nft"), reason="needs nft")
def test_a_firewall_in_the_way_is_seen_and_its_line_opens_it(doctor, gateway):
    run = gateway.namespace.run
    run("nft", "-f", "-", input="""
        table inet filter {
            set ports { type inet_service; elements = { 53, 4500 }; }
            chain input { type filter hook input priority 0; policy drop;
                ct state established,related accept; iif lo accept; tcp dport 22 accept; udp dport @ports accept; }
            chain forward { type filter hook forward priority 0; policy drop; ct state established accept; }
        }""")
    try:
        done = doctor("--json")
        port, forward = found(done, "firewall")[:2]
        assert done.status == 1 and port["level"] == "bad" and forward["level"] == "note", done
        for item in (port, forward):
            run("sh", "-c", item["mend"])
        after = doctor("--json")
        assert [item["level"] for item in found(after, "firewall")[:2]] == ["good", "good"], after
    finally:
        run("nft", "delete", "table", "inet", "filter")


def test_fix_sets_what_is_wrong_now_and_for_the_next_boot(doctor, gateway, tmp_path):
    file = tmp_path / "60-sallyport.conf"
    assert found(doctor("--json"), "forwarding")[0]["level"] == "note"
    fixed = doctor("--fix", "--sysctl-file", str(file))
    text = file.read_text()
    assert "set   net.ipv4.ip_forward = 1" in fixed.out and "\nnet.ipv4.ip_forward = 1\n" in text, fixed
    # every setting under its reason
    lines = text.splitlines()
    assert all(lines[n - 1].startswith("# ") for n, line in enumerate(lines) if "=" in line and not line.startswith("#"))
    assert {item["level"] for item in found(doctor("--json"), "forwarding")} == {"good"}
    again = doctor("--fix", "--sysctl-file", str(file))
    assert file.read_text() == text and "ip_forward" not in again.out, again
    gateway.namespace.sysctl("net.ipv4.ip_forward", 0)
    assert "ip_forward" in doctor("--fix", "--sysctl-file", str(file)).out and file.read_text() == text
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        gateway.namespace.sysctl(key, 0)


def test_fix_is_for_this_host_only(doctor):
    for options in (("--url", "http://127.0.0.1:8080"), ("--json",)):
        refused = doctor("--fix", *options)
        assert refused.status == 2 and "--fix" in refused.err, refused


def test_nobody_is_told_to_set_what_does_not_matter(doctor):
    text = doctor().out
    for cult in ("tcp_rmem", "tcp_wmem", "bbr", "slow_start", "gc_thresh"):
        assert cult not in text


def test_an_endpoint_elsewhere_is_a_note(gateway, tmp_path):
    done = Cli(gateway.socket, tmp_path)("doctor", "--json", "--state-dir", str(gateway.folder))
    endpoint = found(done, "endpoint")[0]
    assert endpoint["level"] == "note" and ("DNS" in endpoint["mend"] or "NAT" in endpoint["mend"]), endpoint


def test_a_key_that_others_may_read_is_bad(doctor, gateway):
    key = gateway.folder / "server.key"
    key.chmod(0o644)
    try:
        done = doctor("--json")
        assert done.status == 1 and found(done, "key")[0]["level"] == "bad"
        subprocess.run(["sh", "-c", found(done, "key")[0]["mend"]], check=True)
        assert found(doctor("--json"), "key")[0]["level"] == "good"
    finally:
        key.chmod(0o600)
