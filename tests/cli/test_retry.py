"""Requests whose connection ends before the answer: done once, whatever the gateway had done of them."""
import http.server
import json
import pathlib
import re
import socketserver
import subprocess
import threading

import pytest

ID = "0b7c1d6e-4a6f-4a51-9a3e-aaaaaaaaaaaa"
TENANT = {"id": ID, "name": "Acme"}


class Forgetful(socketserver.ThreadingUnixStreamServer):
    """A gateway that ends the connection instead of its first answer to a POST."""

    def __init__(self, path):
        self.keys = []
        super().__init__(str(path), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self._answer({"items": [TENANT], "next": None, **TENANT})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.keys.append(self.headers.get("Idempotency-Key"))
        if len(self.server.keys) == 1:
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self._answer({"id": ID, "name": "roof", "private_key": "", "config": "[Interface]\n", "address": "10.0.0.2"})

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


@pytest.fixture
def forgetful(tmp_path):
    with Forgetful(tmp_path / "api.sock") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("arguments", [("tenant", "add", "Acme"), ("router", "add", "Acme", "roof"),
                                       ("router", "rotate", ID, "--yes")])
def test_a_post_is_asked_again_under_its_key(alone, forgetful, tmp_path, arguments):
    alone(*arguments, "--socket", str(tmp_path / "api.sock"))
    assert len(forgetful.keys) == 2 and forgetful.keys[0] and forgetful.keys[0] == forgetful.keys[1], forgetful.keys
    alone(*arguments, "--socket", str(tmp_path / "api.sock"))
    assert forgetful.keys[2] and forgetful.keys[2] != forgetful.keys[0]  # another request


def test_a_router_whose_file_cannot_be_written_keeps_its_key(cli, tmp_path):
    cli("tenant", "add", "Acme")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(out)], check=True)
    try:
        with open(out / "filler", "wb", buffering=0) as filler:
            with pytest.raises(OSError):
                while True:
                    filler.write(bytes(1024))
        full = cli("router", "add", "Acme", "roof", "-o", str(out / "roof.conf"))
        assert full.status == 1 and "No space left" in full.err and "here it is instead" in full.err, full
        assert [path.name for path in out.iterdir()] == ["filler"]
        key = re.search(r"PrivateKey = (\S+)", full.out).group(1)
        public = subprocess.run(["wg", "pubkey"], input=key, text=True, capture_output=True, check=True).stdout.strip()
        assert cli("router", "show", "Acme/roof", "--json").json["public_key"] == public
    finally:
        subprocess.run(["umount", str(out)], check=True)
    refused = cli("router", "add", "Acme", "cellar", "-o", str(tmp_path / "none" / "cellar.conf"))
    assert refused.status == 1 and cli("router", "list", "Acme", "--names").out == "roof\n", refused
    pathlib.Path(tmp_path / "there.conf").write_text("old")
    refused = cli("router", "add", "Acme", "cellar", "-o", str(tmp_path / "there.conf"))
    assert refused.status == 1 and "exists already" in refused.err and (tmp_path / "there.conf").read_text() == "old"
