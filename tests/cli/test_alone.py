"""What the program says and does without a gateway."""
import os
import pathlib
import subprocess

import pytest

from conftest import BUILD
from harness.gateway import program


def test_no_gateway_says_where_it_looked_and_what_to_do(alone, tmp_path):
    refused = alone("status", "--socket", str(tmp_path / "none.sock"))
    assert refused.status == 1 and str(tmp_path) in refused.err and "systemctl start sallyportd" in refused.err, refused


def test_the_socket_of_make_run_is_found(alone, tmp_path):
    (tmp_path / "var" / "run").mkdir(parents=True)
    (tmp_path / "var" / "run" / "api.sock").write_text("")
    if not pathlib.Path("/run/sallyport/api.sock").exists():
        assert "./var/run/api.sock" in alone("status").err


@pytest.mark.parametrize("arguments", [(), ("frob",), ("tenant",), ("tenant", "frob"), ("tenant", "add"),
                                       ("tenant", "add", "a", "b"), ("status", "--frob"), ("tenant", "list", "--limit"),
                                       ("tenant", "list", "--limit", "many"), ("help", "frob"), ("completion", "fish")])
def test_what_is_not_understood_is_status_2(alone, arguments):
    assert alone(*arguments).status == 2


def test_help_needs_no_gateway(alone):
    assert "tenant add" in alone("--help").out
    assert "--addressing" in alone("tenant", "add", "--help").out
    assert alone("tenant", "add", "--help").out == alone("help", "tenant", "add").out
    assert alone("--version").out.startswith("sallyport ")


def test_init_writes_once_and_never_over(alone, tmp_path):
    config = tmp_path / "etc" / "sallyport.conf"
    done = alone("init", "--endpoint", "vpn.example.com", "--listen-port", "4500", "--config", str(config))
    assert done.status == 0 and "systemctl" in done.out, done
    text = config.read_text()
    assert "endpoint = vpn.example.com\n" in text and "listen_port = 4500\n" in text
    again = alone("init", "--endpoint", "other.example.com", "--config", str(config))
    assert again.status == 1 and "exists already" in again.err and config.read_text() == text, again


@pytest.mark.parametrize("option, value", [
    ("--endpoint", "vpn example"), ("--endpoint", "a\nb"), ("--endpoint", ""), ("--listen-port", "0"),
    ("--listen-port", "65536"), ("--listen-port", "x"), ("--interface", "a/b"), ("--interface", "0123456789abcdef"),
    ("--pool", "10.0.0.1/8"), ("--pool", "fd00::/48"), ("--pool", "10.0.0.0/30"), ("--api-listen", "8080")])
def test_init_refuses_what_the_gateway_would(alone, tmp_path, option, value):
    arguments = {"--endpoint": "vpn.example.com", option: value}
    config = tmp_path / "sallyport.conf"
    refused = alone("init", "--config", str(config), *[part for pair in arguments.items() for part in pair])
    assert refused.status == 2 and option in refused.err and not config.exists(), refused


def test_init_asks_only_on_a_terminal(alone, tmp_path):
    refused = alone("init", "--config", str(tmp_path / "sallyport.conf"))
    assert refused.status == 2 and "--endpoint" in refused.err, refused


def test_doctor_names_a_missing_gateway(alone, tmp_path):
    doctor = alone("doctor", "--socket", str(tmp_path / "none.sock"))
    assert doctor.status == 1 and doctor.out.startswith("bad") and "mend: systemctl start sallyportd" in doctor.out, doctor


def test_completion_offers_words_and_treats_names_as_text(alone, tmp_path):
    """Names come from customers: one that looks like a command must not run while it is being completed."""
    fake = tmp_path / "sallyport"
    fake.write_text("#!/bin/sh\nprintf '%s\\n' '$(touch ran)' 'Acme Hotels' '`touch ran`'\n")
    fake.chmod(0o755)
    script = alone("completion", "bash").out
    ask = """source /dev/stdin <<<"$1"; shift
             COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sallyport; printf '%s\\n' "${COMPREPLY[@]}" """

    def complete(*words):
        return subprocess.run(["bash", "-c", ask, "bash", script, *words], text=True, capture_output=True, cwd=tmp_path,
                              env=alone.environment, check=True).stdout.split("\n")[:-1]

    assert complete("sallyport", "ten") == ["tenant"]
    assert "rotate" in complete("sallyport", "router", "")
    assert complete("sallyport", "tenant", "add", "--addressing", "p") == ["private"]
    assert "--lan" in complete("sallyport", "router", "add", "--l")
    assert complete(str(fake), "tenant", "show", "Ac") == ["Acme\\ Hotels"]
    assert len(complete(str(fake), "tenant", "show", "")) == 3
    assert not os.path.exists(tmp_path / "ran")


@pytest.mark.parametrize("options", [(), ("--listen-port", "4500", "--interface", "vpn0", "--pool", "10.64.0.0/10"),
                                     ("--api-listen", "127.0.0.1:8080")])
def test_the_daemon_takes_what_init_wrote(alone, tmp_path, options):
    config = tmp_path / "sallyport.conf"
    assert alone("init", "--endpoint", "vpn.example.com:443", "--config", str(config), *options).status == 0
    checked = subprocess.run([program(BUILD, "sallyportd"), "--check", "--config", str(config)], text=True,
                             capture_output=True, check=False)
    assert checked.returncode == 0, checked
