"""Tenants and routers from files."""
import json
import os
import stat
import subprocess
import time

from harness.load import public_key


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def tenants(count, first=0):
    return [{"name": f"t{n}", "addressing": "private", "routers": [{"name": "r", "public_key": public_key()}]}
            for n in range(first, first + count)]


def test_json_lines_become_tenants_and_routers(cli, tmp_path):
    done = cli("import", write(tmp_path / "all.jsonl", tenants(50)))
    assert done.status == 0 and done.out.startswith("50 created, 0 there already, 0 failed"), done
    assert "100 %" in done.err
    extra = write(tmp_path / "more.jsonl", [{"tenant": "t7", "name": "second", "public_key": public_key(),
                                             "lans": ["192.168.7.0/24"]}])
    assert cli("import", extra).status == 0
    assert cli("router", "show", "t7/second", "--json").json["lans"] == ["192.168.7.0/24"]


def test_csv_becomes_tenants_and_routers(cli, tmp_path):
    file = tmp_path / "all.csv"
    file.write_text("tenant,addressing,router,public_key,lans\n" + "".join(
        f'"Hotel, No. {n // 2}",private,router {n % 2},{public_key()},192.168.{n}.0/24\n' for n in range(20)))
    assert cli("import", str(file)).status == 0
    assert cli("tenant", "show", "Hotel, No. 3", "--json").json["routers"] == 2
    file.write_text(f"tenant,router,public_key\n\"Hotel, No. 3\",third,{public_key()}\n")
    assert cli("import", "--into-existing", str(file)).status == 0
    assert cli("tenant", "show", "Hotel, No. 3", "--json").json["routers"] == 3


def test_an_import_can_be_repeated(cli, tmp_path):
    file = write(tmp_path / "all.jsonl", tenants(30))
    assert cli("import", file).status == 0
    assert cli("import", file).status == 0
    assert len(cli("tenant", "list", "--json").json["items"]) == 30
    # with more items the batches are others: now the identifiers recognize what is there
    with open(file, "a", encoding="utf-8") as more:
        more.write(json.dumps(tenants(1, first=99)[0]) + "\n")
    done = cli("import", file)
    assert done.status == 0 and done.out.startswith("1 created, 30 there already, 0 failed"), done


def test_a_tenant_too_large_for_one_step_is_made_in_several(cli, tmp_path):
    lines = tenants(2)
    lines[0]["routers"] = [{"name": f"r{n}", "public_key": public_key()} for n in range(2005)]
    file = write(tmp_path / "all.jsonl", lines)
    assert cli("import", file).status == 0
    assert cli("tenant", "show", "t0", "--json").json["routers"] == 2005
    # one more among what was split off: the batch is another, and identifiers recognize what is there
    lines.insert(1, {"tenant": "t0", "name": "late", "public_key": public_key()})
    done = cli("import", write(tmp_path / "again.jsonl", lines))
    assert done.status == 0 and ", 5 there already, 0 failed" in done.out, done
    assert cli("tenant", "show", "t0", "--json").json["routers"] == 2006


def test_failures_are_named_by_line_and_the_rest_is_made(cli, tmp_path):
    lines = tenants(10)
    lines[3]["subnet"] = "nonsense"
    lines[6]["routers"][0]["public_key"] = lines[5]["routers"][0]["public_key"]
    done = cli("import", write(tmp_path / "all.jsonl", lines))
    assert done.status == 1 and done.out.startswith("8 created, 0 there already, 2 failed"), done
    assert "line 4: " in done.err and "subnet" in done.err and "line 7: " in done.err, done
    summary = cli("import", write(tmp_path / "again.jsonl", lines), "--json").json
    assert summary["failed"] == 2 and [f["line"] for f in summary["failures"]] == [4, 7]


def test_nothing_is_made_of_a_file_with_a_fault_of_form(cli, tmp_path):
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in tenants(5)) + "{broken\n")
    refused = cli("import", str(file))
    assert refused.status == 1 and "line 6" in refused.err and "nothing was imported" in refused.err, refused
    assert cli("tenant", "list", "--names").out == ""
    assert cli("import", str(tmp_path / "missing")).status == 1


def test_keys_made_by_the_gateway_go_to_files_or_nowhere(cli, tmp_path):
    lines = [{"name": f"t{n}", "routers": [{"name": "../roof"}, {"name": "cellar"}]} for n in range(5)]
    file = write(tmp_path / "all.jsonl", lines)
    refused = cli("import", file)
    assert refused.status == 1 and "--configs" in refused.err and cli("tenant", "list", "--names").out == "", refused
    done = cli("import", file, "--configs", str(tmp_path / "configs"))
    files = list((tmp_path / "configs").iterdir())
    assert done.status == 0 and len(files) == 10, done
    assert all("PrivateKey" in f.read_text() and stat.S_IMODE(os.stat(f).st_mode) == 0o600 for f in files)
    before = {f: f.read_text() for f in files}
    assert cli("import", file, "--configs", str(tmp_path / "configs")).status == 0
    assert {f: f.read_text() for f in (tmp_path / "configs").iterdir()} == before


def test_check_changes_nothing(cli, tmp_path):
    done = cli("import", "--check", write(tmp_path / "all.jsonl", tenants(3)))
    assert done.status == 0 and "3 items with 3 routers" in done.out, done
    assert cli("tenant", "list", "--names").out == ""


def test_standard_input_is_a_file_too(cli):
    done = cli("import", "-", input="".join(json.dumps(line) + "\n" for line in tenants(3)))
    assert done.status == 0 and done.out.startswith("3 created"), done


def test_an_interrupted_import_goes_on_where_it_stopped(cli, tmp_path):
    file = write(tmp_path / "all.jsonl", tenants(9000))
    with subprocess.Popen([cli.program, "--socket", str(cli.socket), "import", file], env=cli.environment,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as importer:
        until = time.monotonic() + 20
        while cli("status", "--json").json["counts"]["tenants"] == 0 and time.monotonic() < until:
            time.sleep(0.01)
        importer.kill()
    assert cli("import", file).status == 0
    assert cli("status", "--json").json["counts"]["tenants"] == 9000
