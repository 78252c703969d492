"""Tenants, routers, tokens, events and status through the program."""
import json
import os
import sqlite3
import stat
import subprocess
import time

import pytest

from harness.client import Config, key_pair
from harness.load import public_key


def test_a_tenant_lives_from_add_to_remove(cli):
    added = cli("tenant", "add", "Acme", "--addressing", "private", "--subnet", "10.77.0.0/16", "--limit-bits", "20M",
                "--limit-routers", "5")
    assert added.status == 0 and "10.77.0.0/16" in added.out and "20.0 Mbit/s" in added.out, added
    shown = cli("tenant", "show", "Acme", "--json").json
    assert shown["limits"] == {"bits_per_second": 20_000_000, "packets_per_second": 0, "routers": 5}
    assert cli("tenant", "show", shown["id"].upper()).status == 0
    assert cli("tenant", "set", "Acme", "--name", "Acme & Sons", "--egress", "on", "--limit-bits", "none").status == 0
    shown = cli("tenant", "show", "Acme & Sons", "--json").json
    assert shown["egress"] is True and shown["limits"]["bits_per_second"] == 0 and shown["limits"]["routers"] == 5
    assert cli("tenant", "disable", "Acme & Sons", "--json").json["status"] == "disabled"
    assert cli("tenant", "enable", "Acme & Sons", "--json").json["status"] == "active"
    assert cli("tenant", "remove", "Acme & Sons", "--yes").status == 0
    gone = cli("tenant", "show", "Acme & Sons")
    assert gone.status == 1 and "tenant list" in gone.err and gone.out == ""


def test_removing_wants_a_yes(cli):
    assert cli("tenant", "add", "Acme").status == 0
    refused = cli("tenant", "remove", "Acme")
    assert refused.status == 1 and "--yes" in refused.err, refused
    assert cli("tenant", "show", "Acme").status == 0


def test_a_router_lives_from_add_to_remove(cli):
    assert cli("tenant", "add", "Acme").status == 0
    added = cli("router", "add", "Acme", "roof", "--lan", "192.168.88.0/24", "--lan", "192.168.89.0/24")
    assert added.status == 0, added
    config = Config(added.out)
    assert "PrivateKey" in config.plain and "vpn.example.com:51820" in config.plain and len(config.addresses) == 2
    assert "shown only now" in added.err
    shown = cli("router", "show", "Acme/roof", "--json").json
    assert shown["lans"] == ["192.168.88.0/24", "192.168.89.0/24"] and shown["status"] == "pending"
    assert cli("router", "show", "roof").status == 0 and cli("router", "show", shown["id"]).status == 0
    assert cli("router", "set", "roof", "--lan", "none", "--name", "tower").status == 0
    assert cli("router", "show", "Acme/tower", "--json").json["lans"] == []
    assert cli("router", "disable", "tower", "--json").json["status"] == "disabled"
    assert cli("router", "enable", "tower", "--json").json["status"] == "pending"
    assert cli("router", "remove", "Acme/tower", "--yes").status == 0
    assert cli("router", "show", "Acme/tower").status == 1


def test_a_private_key_is_shown_once(cli):
    cli("tenant", "add", "Acme")
    added = cli("router", "add", "Acme", "roof", "--preshared-key", "generate")
    secret = next(line.split(" = ")[1] for line in added.out.splitlines() if line.startswith("PrivateKey"))
    assert "PresharedKey" in added.out
    again = cli("router", "config", "roof")
    assert again.status == 0 and secret not in again.out and "[Peer]" in again.out, again
    assert secret not in cli("router", "show", "roof", "--json").out


def test_a_router_may_bring_its_own_keys(cli, tmp_path):
    cli("tenant", "add", "Acme")
    _, public = key_pair()
    preshared = tmp_path / "psk"
    preshared.write_text(public_key() + "\n")
    added = cli("router", "add", "Acme", "roof", "--public-key", public, "--preshared-key", str(preshared))
    assert added.status == 0 and "\nPrivateKey" not in added.out and "own private key" in added.err, added
    shown = cli("router", "show", "roof", "--json").json
    assert shown["public_key"] == public and shown["has_preshared_key"]
    preshared.write_text("nonsense\n")
    assert cli("router", "add", "Acme", "two", "--preshared-key", str(preshared)).status == 2
    duplicate = cli("router", "add", "Acme", "two", "--public-key", public)
    assert duplicate.status == 1 and "public_key" in duplicate.err, duplicate


def test_output_goes_to_a_new_private_file_or_nothing_is_made(cli, tmp_path):
    cli("tenant", "add", "Acme")
    target = tmp_path / "roof.conf"
    added = cli("router", "add", "Acme", "roof", "--output", str(target))
    assert added.status == 0 and added.out == "", added
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600 and "PrivateKey" in target.read_text()
    before = target.read_text()
    refused = cli("router", "add", "Acme", "two", "--output", str(target))
    assert refused.status == 1 and "exists already" in refused.err and target.read_text() == before, refused
    assert cli("router", "show", "Acme/two").status == 1
    other = tmp_path / "other.conf"
    assert cli("router", "add", "Nobody", "two", "--output", str(other)).status == 1
    assert cli("router", "add", "Acme", "two", "--address", "192.0.2.1", "--output", str(other)).status == 1
    assert not other.exists()


def test_rotating_gives_new_keys_and_keeps_addresses(cli):
    cli("tenant", "add", "Acme")
    cli("router", "add", "Acme", "roof")
    before = cli("router", "show", "roof", "--json").json
    assert cli("router", "rotate", "roof").status == 1
    rotated = cli("router", "rotate", "roof", "--yes")
    after = cli("router", "show", "roof", "--json").json
    assert rotated.status == 0 and "PrivateKey" in rotated.out, rotated
    assert after["public_key"] != before["public_key"] and after["address"] == before["address"]


def test_names_that_are_not_unique_must_be_told_apart(cli):
    for tenant in ("one", "two"):
        cli("tenant", "add", tenant)
        cli("router", "add", tenant, "roof")
    ambiguous = cli("router", "show", "roof")
    assert ambiguous.status == 1 and "TENANT/ROUTER" in ambiguous.err, ambiguous
    assert cli("router", "show", "one/roof", "--json").json["id"] != cli("router", "show", "two/roof", "--json").json["id"]


def test_names_may_hold_slashes_blanks_and_any_script(cli):
    cli("tenant", "add", "Nord/Süd 日本")
    cli("router", "add", "Nord/Süd 日本", "Dach/1")
    shown = cli("router", "show", "Nord/Süd 日本/Dach/1", "--json")
    assert shown.status == 0 and shown.json["name"] == "Dach/1", shown
    listed = cli("tenant", "list")
    header, row = listed.out.splitlines()
    columns = sum(2 if ord(c) > 0x2E80 else 1 for c in row[:row.index("unique")])
    assert header.index("ADDRESSING") == columns, listed


def test_lists_are_whole_filtered_and_aligned(cli, gateway):
    gateway.api.post("/tenants/bulk", {"tenants": [
        {"name": f"t{n:04}", "addressing": "private" if n % 2 else "unique",
         "routers": [{"name": "r", "public_key": public_key()}]} for n in range(2100)]})
    assert len(cli("tenant", "list", "--json").json["items"]) == 2100
    lines = cli("tenant", "list").out.splitlines()
    assert len(lines) == 2101 and lines[0].startswith("NAME") and lines[2100].startswith("t2099")
    assert len(cli("tenant", "list", "--addressing", "private", "--names").out.splitlines()) == 1050
    assert cli("tenant", "list", "--search", "t000", "--names").out.split() == [f"t{n:04}" for n in range(10)]
    assert len(cli("router", "list", "--limit", "1500", "--json").json["items"]) == 1500
    assert len(cli("router", "list", "t0007").out.splitlines()) == 2
    assert cli("router", "list", "--connected", "yes", "--names").out == ""


def test_the_gateways_of_the_database_are_listed(cli, gateway):
    listed = cli("gateway", "list").out.splitlines()
    assert len(listed) == 2 and listed[0].split()[:2] == ["NAME", "REGION"]
    me = cli("gateway", "list", "--json").json["items"][0]
    assert listed[1].startswith(f"{me['name']} (this one)") and " alive " in listed[1]
    assert me["name"] == gateway.api.get("/status")["gateway"]["name"]


def test_a_list_may_be_cut_short_by_its_reader(cli, gateway):
    gateway.api.post("/tenants/bulk", {"tenants": [{"name": f"t{n}"} for n in range(1500)]})
    cut = subprocess.run(["sh", "-c", f"{cli.program} --socket {cli.socket} tenant list | head -1"], text=True,
                         capture_output=True, env=cli.environment, check=False)
    assert cut.returncode == 0 and cut.stdout.startswith("NAME") and cut.stderr == ""


def test_status_tells_what_the_kernel_does_for_us(cli):
    lines = dict(line.split(None, 1) for line in cli("status").out.splitlines() if line.startswith("offloads"))
    backend = cli("status", "--json").json["backend"]
    assert lines["offloads"].startswith(backend["offloads"].replace(",", ", "))
    assert all(name in lines["offloads"] for name in backend["offloads_off"])


def test_status_of_a_fresh_start_says_that_nothing_was_changed(cli):
    lines = dict(line.split(None, 1) for line in cli("status").out.splitlines() if line.startswith("reconcile"))
    assert lines["reconcile"].startswith("in sync; ") and lines["reconcile"].endswith("; no differences found since the start")


def test_tokens_open_the_api_over_tcp_until_revoked(cli, gateway, tmp_path):
    secret = tmp_path / "token"
    made = cli("token", "add", "laptop", "--scope", "admin", "--expires", "1h", "--output", str(secret))
    assert made.status == 0 and stat.S_IMODE(os.stat(secret).st_mode) == 0o600, made
    url = "http://127.0.0.1:8080"
    inside = gateway.namespace.command(cli.program, "--url", url)

    def over_tcp(*arguments, **environment):
        return subprocess.run([*inside, *arguments], text=True, capture_output=True, check=False, cwd=tmp_path,
                              env={**cli.environment, **environment})

    assert over_tcp("status", "--token-file", str(secret)).returncode == 0
    assert over_tcp("status", SALLYPORT_TOKEN=secret.read_text().strip()).returncode == 0
    without = over_tcp("status")
    assert without.returncode == 1 and "token" in without.stderr, without
    listed = cli("token", "list")
    assert "laptop" in listed.out and secret.read_text().strip() not in listed.out
    assert cli("token", "revoke", "laptop").status == 0
    assert over_tcp("status", "--token-file", str(secret)).returncode == 1
    assert cli("token", "revoke", "laptop").status == 1


@pytest.mark.parametrize("arguments", [
    ("x",), ("x", "--scope", "tenant-read"), ("x", "--scope", "admin", "--tenant", "y"), ("x", "--scope", "root"),
    ("x", "--scope", "admin", "--expires", "soon")])
def test_a_token_that_makes_no_sense_is_a_usage_error(cli, arguments):
    refused = cli("token", "add", *arguments)
    assert refused.status == 2 and refused.err, refused


def test_events_tell_what_was_changed(cli):
    start = cli("status", "--json").json["store"]["revision"]
    cli("tenant", "add", "Acme")
    cli("router", "add", "Acme", "roof")
    events = [json.loads(line) for line in cli("events", "--after", str(start), "--json").out.splitlines()]
    assert [event["kind"] for event in events] == ["tenant.created", "router.created"]
    assert "router.created" in cli("events").out


def test_events_follow_what_happens(cli):
    start = cli("status", "--json").json["store"]["revision"]
    with subprocess.Popen([cli.program, "--socket", str(cli.socket), "events", "--follow", "--after", str(start)],
                          stdout=subprocess.PIPE, text=True, env=cli.environment) as follower:
        try:
            time.sleep(0.3)
            cli("tenant", "add", "Acme")
            assert "tenant.created" in follower.stdout.readline()
        finally:
            follower.terminate()


def test_events_say_what_they_cannot_tell(gateway, cli):
    for n in range(4):
        cli("tenant", "add", f"t{n}")
    newest = cli("status", "--json").json["store"]["revision"]
    gateway.end()
    with sqlite3.connect(gateway.folder / "sallyport.db") as database:
        database.execute("DELETE FROM vpn_changes WHERE revision <= ?", (newest - 2,))
    gateway.start()
    shown = cli("events", "--after", str(newest - 4), "--json")
    assert [json.loads(line)["revision"] for line in shown.out.splitlines()] == [newest - 1, newest], shown
    assert shown.status == 0 and f"events {newest - 3} to {newest - 2} are no longer kept" in shown.err, shown
    shown = cli("events", "--after", str(newest - 2))
    assert shown.status == 0 and shown.err == "", shown
    # put back from a backup: what comes then is not waited for in vain
    with subprocess.Popen([cli.program, "--socket", str(cli.socket), "events", "--follow", "--after", str(newest + 50)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environment) as follower:
        try:
            assert f"went back from event {newest + 50} to {newest}" in follower.stderr.readline()
            cli("tenant", "add", "later")
            assert f"{newest + 1} " in follower.stdout.readline()
        finally:
            follower.terminate()


def test_status_top_and_doctor_look_at_the_gateway(cli):
    cli("tenant", "add", "Acme")
    status = cli("status")
    assert status.status == 0 and "in sync" in status.out and "vpn.example.com" in status.out, status
    top = cli("top", "--once")
    assert top.status == 0 and "1 tenants, 0 routers" in top.out and "TENANT" in top.out, top
    doctor = cli("doctor")
    assert doctor.status == 0 and "the data plane (engine) is up" in doctor.out, doctor
    findings = cli("doctor", "--json").json
    assert findings["bad"] == 0 and all(f["mend"] for f in findings["findings"] if f["level"] != "good")


def test_the_gateways_refusals_reach_the_user(cli):
    cli("tenant", "add", "Acme")
    for arguments in (("router", "add", "Acme", "bad\nname"), ("router", "add", "Acme", "$(reboot)\x1b[2J"),
                      ("tenant", "add", "x" * 200), ("tenant", "add", "t", "--subnet", "300.0.0.0/8"),
                      ("router", "add", "Acme", "r", "--public-key", "short"), ("router", "add", "Acme", "r", "--lan", "x"),
                      ("router", "config", "Acme/none"), ("tenant", "show", "00000000-0000-7000-8000-000000000001")):
        refused = cli(*arguments)
        assert refused.status == 1 and refused.out == "", (arguments, refused)
        assert refused.err.startswith("sallyport: ") and "\x1b" not in refused.err, refused
