"""sallyportd as a program: its configuration, its key, its sockets, and what it does when something is in the way."""
import grp
import http.client
import os
import pathlib
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time

import pytest
from checked import CheckedApi
from conftest import TCP, wait_until
from harness.api import ApiError
from harness.client import key_pair

NOBODY = 65534
GROUP = "games"  # one that every Debian has


def check(daemon, text, tmp_path, *arguments, **environment):
    """--check of a configuration: (exit status, stderr)."""
    file = tmp_path / "sallyport.conf"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([daemon, "--config", str(file), "--check", *arguments], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], **environment}, timeout=20, check=False)
    return done.returncode, done.stderr, done.stdout


def gid(group):
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


GOOD = "[gateway]\nendpoint = vpn.example.com\n"


# --- the command line ---

def test_version_and_help(daemon):
    version = subprocess.run([daemon, "--version"], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"sallyportd \d+\.\d+\.\d+\n", version)
    text = subprocess.run([daemon, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--config" in text and all(len(line) < 100 for line in text.splitlines())


@pytest.mark.parametrize("arguments", [["--frobnicate"], ["extra"], ["--config"]])
def test_a_wrong_command_line_is_a_usage_error(daemon, arguments):
    done = subprocess.run([daemon, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--help" in done.stderr


# --- the configuration ---

def test_a_right_configuration_is_right(daemon, tmp_path):
    text = (GOOD + "interface=wg7\nlisten_port : 1234\n  pool = 10.0.0.0/16 ; small\nhub_address=10.0.0.1\nula=auto\nmtu=1380\nfwmark=0xcafe\n"
            "# a comment\n; another\n\n[backend]\nkind=auto\nworkers=2\noffloads_off=gso,tso,uring\n[store]\nurl=sqlite:/tmp/x.db\n[api]\nsocket=/tmp/x.sock\n"
            "listen=127.0.0.1:8080\n[daemon]\nlog_level=debug\nreconcile_seconds=5\n")
    assert check(daemon, text, tmp_path) == (0, "", "The configuration is right.\n")


@pytest.mark.parametrize("text, line, words", [
    ("[gateway]\nendpoint=a\nendpiont=b\n", 3, ["endpiont", "[gateway]"]),
    ("[gateway]\nendpoint=a\n[gatway]\nmtu=1\n", 4, ["gatway", "[gateway] [backend] [store] [api] [daemon]"]),
    ("endpoint=a\n", 1, ["no section"]),
    ("[gateway]\nendpoint=a\nlisten_port=0\n", 3, ["listen_port", "range"]),
    ("[gateway]\nendpoint=a\nlisten_port=65536\n", 3, ["range"]),
    ("[gateway]\nendpoint=a\nlisten_port=51820x\n", 3, ["not a number"]),
    ("[gateway]\nendpoint=a\nlisten_port=-1\n", 3, ["not a number"]),
    ("[gateway]\nendpoint=a b\n", 2, ["host name"]),
    ("[gateway]\nendpoint=$(id)\n", 2, ["host name"]),
    ("[gateway]\nendpoint=a\ninterface=wg0/../x\n", 3, ["interface name"]),
    ("[gateway]\nendpoint=a\ninterface=abcdefghijklmnop\n", 3, ["too long"]),
    ("[gateway]\nendpoint=a\npool=10.0.0.1/8\n", 3, ["bits"]),
    ("[gateway]\nendpoint=a\npool=fd00::/8\n", 3, ["IPv4"]),
    ("[gateway]\nendpoint=a\npool=10.0.0.0/30\n", 3, ["/8 to /24"]),
    ("[gateway]\nendpoint=a\nhub_address=localhost\n", 3, ["IPv4"]),
    ("[gateway]\nendpoint=a\nula=2001:db8::/48\n", 3, ["fc00::/7"]),
    ("[gateway]\nendpoint=a\nmtu=100\n", 3, ["range"]),
    ("[gateway]\nendpoint=a\nfamily=inet\n", 3, ["ipv4, ipv6 and both"]),
    ("[gateway]\nendpoint=a\nfwmark=0x100000000\n", 3, ["0xffffffff"]),
    ("[gateway]\nendpoint=a\nfwmark=on\n", 3, ["off"]),
    ("[gateway]\nendpoint=a\nfwmark=-1\n", 3, ["off"]),
    ("[gateway]\nendpoint=a\nfwmark=0x\n", 3, ["off"]),
    ("[gateway]\nendpoint=a\n[backend]\nkind=ipsec\n", 4, ["auto, engine, kernel"]),
    ("[gateway]\nendpoint=a\n[backend]\noffloads_off=gso,gro\n", 4, ["gso, tso and uring"]),
    ("[gateway]\nendpoint=a\n[backend]\noffloads_off=gso,\n", 4, ["gso, tso and uring"]),
    ("[gateway]\nendpoint=a\n[store]\nurl=mysql://x\n", 4, ["sqlite:"]),
    ("[gateway]\nendpoint=a\n[api]\ninsecure=maybe\n", 4, ["true"]),
    ("[gateway]\nendpoint=a\n[daemon]\nlog_level=loud\n", 4, ["debug"]),
    ("[gateway]\nendpoint=a\nwhat is this\n", 3, ["name = value"]),
    ("[gateway\nendpoint=a\n", 1, ["section"]),
    ("[gateway]\nendpoint=a\n[daemon]\nstate_dir=/" + "x" * 600 + "\n", 4, ["too long"]),
])
def test_a_fault_names_file_and_line(daemon, tmp_path, text, line, words):
    status, said, _ = check(daemon, text, tmp_path)
    assert status == 2
    assert f"{tmp_path}/sallyport.conf:{line}: " in said
    for word in words:
        assert word in said, said


def test_a_line_is_as_long_as_its_value(daemon, tmp_path):
    """A database's URL with several servers and its certificates is far longer than 200 bytes."""
    hosts = ",".join(f"db{i}.eu-central-1.databases.example.com:5432" for i in range(4))
    url = (f"postgresql://sallyport@{hosts}/sallyport?sslmode=verify-full&sslrootcert=/etc/sallyport/tls/database-authority.pem"
           "&sslcert=/etc/sallyport/tls/database-client.pem&sslkey=/etc/sallyport/tls/database-client.key")
    assert len(url) > 300
    assert check(daemon, f"\ufeff{GOOD}# {'x' * 900}\n[store]\nurl = {url} ; the cluster\n", tmp_path)[0] == 0
    status, said, _ = check(daemon, f"{GOOD}[store]\nurl = postgresql://a/b\nurl = {'x' * 300}\n", tmp_path)
    assert status == 2 and ".conf:5: url:" in said


@pytest.mark.parametrize("text, words", [
    ("", "endpoint is not set"),
    (GOOD + "pool=10.0.0.0/8\nhub_address=192.168.0.1\n", "hub_address"),
    (GOOD + "hub_address=10.0.0.0\n", "hub_address"),
    (GOOD + "[api]\ntls_cert=/x\n", "tls_key"),
    (GOOD + "[api]\ntls_cert=/nonexistent/a\ntls_key=/nonexistent/b\n", "/nonexistent/a"),
    (GOOD + "[api]\nlisten=8080\n", "127.0.0.1:8080"),
    (GOOD + "[api]\nlisten=localhost:8080\n", "127.0.0.1:8080"),
    (GOOD + "[api]\nlisten=0.0.0.0:8080\n", "insecure = true"),
    (GOOD + "[api]\nlisten=[::]:8080\n", "insecure = true"),
    (GOOD + "[api]\nsocket_group=nosuchgroup\n", "groupadd"),
    (GOOD + "[api]\nsocket=\n", "nobody could reach"),
])
def test_what_does_not_fit_together_is_refused(daemon, tmp_path, text, words):
    status, said, _ = check(daemon, text, tmp_path)
    assert status == 2 and words in said, said


def test_all_faults_are_told_at_once(daemon, tmp_path):
    _, said, _ = check(daemon, "[gateway]\nmtu=x\nport=1\n[api]\nlisten=y\n[nonsense]\na=b\n", tmp_path)
    assert len(said.splitlines()) >= 4


def test_a_file_that_is_named_must_be_there(daemon):
    done = subprocess.run([daemon, "--config", "/nonexistent/x.conf", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "/nonexistent/x.conf: No such file" in done.stderr


def test_the_environment_wins_over_the_file(daemon, tmp_path):
    assert check(daemon, "", tmp_path, SALLYPORT_GATEWAY_ENDPOINT="vpn.example.com")[0] == 0
    assert check(daemon, "", tmp_path, VPN_SERVER_IP="192.0.2.1", VPN_SERVER_PORT="51821", VPN_INTERFACE="wg1")[0] == 0
    status, said, _ = check(daemon, GOOD, tmp_path, VPN_SERVER_PORT="many")
    assert status == 2 and "VPN_SERVER_PORT" in said
    status, said, _ = check(daemon, GOOD, tmp_path, SALLYPORT_DAEMON_LOG_LEVEL="loud")
    assert status == 2 and "SALLYPORT_DAEMON_LOG_LEVEL" in said
    assert check(daemon, GOOD, tmp_path, VPN_MODE="host")[0] == 0
    assert check(daemon, GOOD, tmp_path, VPN_MODE="kernel")[0] == 0


def test_the_variables_of_existing_compose_files_are_honoured(make_gateway):
    gateway = make_gateway(start=False, environment={"VPN_MODE": "host", "VPN_SERVER_IP": "192.0.2.77", "VPN_SERVER_PORT": "51999"})
    gateway.environment["VPN_INTERFACE"] = gateway.interface
    for key in ("interface", "listen_port", "endpoint"):
        del gateway.settings["gateway"][key]
    gateway.start()
    status = gateway.status()
    assert (status["gateway"]["endpoint"], status["gateway"]["port"]) == ("192.0.2.77", 51999)
    assert status["gateway"]["listen_port"] == 51999
    assert status["backend"]["interface"] == gateway.interface
    assert "VPN_MODE=host" in gateway.log.read_text()


def test_the_family_of_configurations_is_a_gateways_choice(make_gateway):
    gateway = make_gateway(start=False)
    gateway.settings["gateway"]["family"] = "ipv4"
    gateway.start()
    tenant = gateway.api.post("/tenants", {"name": "one family"})
    made = gateway.api.post(f"/tenants/{tenant['id']}/routers", {"name": "old"})
    bulk = gateway.api.post(f"/tenants/{tenant['id']}/routers/bulk", {"routers": [{"name": "older"}]})
    for config in made["config"], bulk["items"][0]["router"]["config"], gateway.api.get(f"/routers/{made['id']}/config"):
        assert "Address = 10." in config and "/128" not in config
    assert made["address6"] in gateway.api.get(f"/routers/{made['id']}/config?family=both")


# --- key and folder ---

def started(gateway):
    gateway.start(wait=False)
    return gateway


def refused_to_start(gateway, status=1):
    """Starts it, which must fail; what it said."""
    started(gateway)
    assert gateway.process.wait(20) == status, gateway.log_tail()
    gateway.process = None
    return gateway.log.read_text()


def test_a_key_is_made_once_and_for_the_owner_only(make_gateway):
    gateway = make_gateway()
    file = gateway.folder / "server.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text, public = file.read_text(), gateway.status()["gateway"]["public_key"]
    assert subprocess.run(["wg", "pubkey"], input=text, capture_output=True, text=True, check=True).stdout.strip() == public
    gateway.end()
    gateway.start()
    assert file.read_text() == text and gateway.status()["gateway"]["public_key"] == public
    assert [path.name for path in gateway.folder.glob("server.key*")] == ["server.key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_is_refused(make_gateway, mode):
    gateway = make_gateway(start=False)
    file = gateway.folder / "server.key"
    file.write_text(key_pair()[0] + "\n")
    file.chmod(mode)
    said = refused_to_start(gateway)
    assert "chmod 0600" in said and str(file) in said
    assert not (gateway.folder / "sallyport.db").exists()


@pytest.mark.parametrize("text", ["", "hello\n", "A" * 43 + "=\n", "x" * 1000])
def test_a_file_that_holds_no_key_is_refused(make_gateway, text):
    gateway = make_gateway(start=False)
    file = gateway.folder / "server.key"
    file.write_text(text)
    file.chmod(0o600)
    assert "does not hold a WireGuard private key" in refused_to_start(gateway)
    assert file.read_text() == text


def test_a_lost_key_is_not_replaced_behind_the_operators_back(make_gateway):
    gateway = make_gateway()
    gateway.end()
    (gateway.folder / "server.key").unlink()
    said = refused_to_start(gateway)
    assert "server.key is missing" in said and "backup" in said
    assert not (gateway.folder / "server.key").exists()


def test_the_state_folder_is_made_for_the_owner_only(make_gateway):
    gateway = make_gateway(start=False)
    folder = gateway.folder / "deep" / "state"
    gateway.settings["daemon"]["state_dir"] = str(folder)
    gateway.settings["store"]["url"] = f"sqlite:{folder}/sallyport.db"
    gateway.start()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_everybody_may_write_is_refused(make_gateway):
    gateway = make_gateway(start=False)
    gateway.folder.chmod(0o777)
    assert "chmod 0700" in refused_to_start(gateway)


def test_two_on_one_folder_do_not_start(make_gateway):
    gateway = make_gateway()
    second = make_gateway(start=False)
    second.settings["daemon"]["state_dir"] = str(gateway.folder)
    said = refused_to_start(second)
    assert "Another sallyportd works on" in said and str(gateway.folder) in said
    assert gateway.api.get("/health")["status"] == "ok"


# --- sockets ---

def test_a_stale_socket_is_replaced_and_a_live_one_is_not(make_gateway):
    gateway = make_gateway()
    gateway.kill()
    assert gateway.socket.exists()
    gateway.start()
    second = make_gateway(start=False)
    second.settings["api"]["socket"] = str(gateway.socket)
    assert "Another program serves it" in refused_to_start(second)
    assert gateway.api.get("/health")["status"] == "ok"


def test_a_file_in_the_sockets_place_is_left_alone(make_gateway):
    gateway = make_gateway(start=False)
    gateway.socket.write_text("precious")
    assert "Cannot listen on the socket" in refused_to_start(gateway)
    assert gateway.socket.read_text() == "precious"


def test_a_busy_tcp_port_is_told(make_gateway):
    gateway = make_gateway({"api": {"listen": TCP}}, start=False)
    with gateway.namespace.inside():
        busy = socket.socket()
        busy.bind(("127.0.0.1", 8080))
        busy.listen()
    said = refused_to_start(gateway)
    assert "TCP 127.0.0.1:8080" in said and "in use" in said
    assert not gateway.socket.exists()
    busy.close()


ASK = ("import http.client, socket, sys\n"
       "c = http.client.HTTPConnection('x'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1])\n"
       "c.request('GET', '/v1/tenants'); a = c.getresponse(); print(a.status, a.read().decode())\n")


def ask_as(path, *groups):
    """GET /v1/tenants as the user nobody with these groups: what came of it."""
    ids = [str(gid(group)) for group in groups]
    command = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY),
               *(["--groups", ",".join(ids)] if ids else ["--clear-groups"])]
    done = subprocess.run([*command, "/usr/bin/python3", "-c", ASK, str(path)], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else done.stderr.splitlines()[-1]


def test_the_unix_socket_trusts_root_and_its_group(make_gateway):
    gateway = make_gateway({"api": {"socket_group": GROUP}})
    gateway.folder.chmod(0o711)
    mode = gateway.socket.stat()
    assert stat.S_IMODE(mode.st_mode) == 0o660 and mode.st_gid == gid(GROUP)
    assert ask_as(gateway.socket, GROUP).startswith("200 ")
    assert "Permission" in ask_as(gateway.socket)
    # and if the file's mode does not keep strangers out, their credentials do
    gateway.socket.chmod(0o666)
    assert ask_as(gateway.socket).startswith("401 ") and "unauthorized" in ask_as(gateway.socket)
    assert ask_as(gateway.socket, GROUP).startswith("200 ")
    gateway.folder.chmod(0o700)


def test_a_folder_made_for_the_socket_lets_its_group_through(make_gateway):
    gateway = make_gateway({"api": {"socket_group": GROUP}}, start=False)
    gateway.folder.chmod(0o711)
    gateway.settings["api"]["socket"] = str(gateway.folder / "made" / "api.sock")
    gateway.start(wait=False)
    made = gateway.folder / "made" / "api.sock"
    wait_until(made.exists)
    wait_until(lambda: stat.S_IMODE(made.stat().st_mode) == 0o660)
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o755
    wait_until(lambda: ask_as(made, GROUP).startswith("200 "))
    gateway.folder.chmod(0o700)


def test_without_the_group_the_socket_is_roots(make_gateway):
    gateway = make_gateway()
    expected = 0o660 if gid("sallyport") is not None else 0o600
    assert stat.S_IMODE(gateway.socket.stat().st_mode) == expected


def self_signed(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=vpn.example.com", "-addext", "subjectAltName=DNS:vpn.example.com",
                    "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")], check=True, capture_output=True)
    return {"tls_cert": str(folder / "tls.crt"), "tls_key": str(folder / "tls.key")}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_tls(make_gateway):
    gateway = make_gateway({"api": {"listen": "0.0.0.0:8443"}}, start=False)
    gateway.settings["api"].update(self_signed(gateway.folder))
    gateway.start()
    token = gateway.api.post("/tokens", {"name": "x", "scope": "admin"})["token"]
    context = ssl.create_default_context(cafile=str(gateway.folder / "tls.crt"))
    with gateway.namespace.inside():
        plain = socket.create_connection(("127.0.0.1", 8443), timeout=10)
    connection = http.client.HTTPSConnection("vpn.example.com", context=context)
    connection.sock = context.wrap_socket(plain, server_hostname="vpn.example.com")
    connection.request("GET", "/v1/tenants", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b'{"items":[],"next_cursor":null}')
    connection.request("GET", "/v1/tenants")
    assert connection.getresponse().status == 401
    # and nothing is served in clear
    with gateway.namespace.inside():
        clear = socket.create_connection(("127.0.0.1", 8443), timeout=10)
    clear.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP/1.1 200" not in clear.recv(1000)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_a_certificate_that_is_none_is_told(make_gateway):
    gateway = make_gateway({"api": {"listen": "127.0.0.1:8443"}}, start=False)
    tls = self_signed(gateway.folder)
    pathlib.Path(tls["tls_cert"]).write_text("hello")
    gateway.settings["api"].update(tls)
    assert "matching pair" in refused_to_start(gateway)


def test_tcp_beyond_this_host_without_tls_needs_a_word(make_gateway):
    gateway = make_gateway({"api": {"listen": "0.0.0.0:8080", "insecure": "true"}})
    assert CheckedApi(f"http://{TCP}", namespace=gateway.namespace).get("/health")["status"] == "ok"


# --- the service manager ---

def test_readiness_is_told(make_gateway, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(15)
        gateway = make_gateway(environment={"NOTIFY_SOCKET": path})
        assert manager.recv(100) == b"READY=1"
        assert gateway.end() == 0
        assert manager.recv(100) == b"STOPPING=1"


# --- a data plane that cannot be had: the API stays up and says so ---

def health(gateway):
    try:
        return 200, gateway.api.get("/health")
    except ApiError as error:
        return error.status, error.problem


def stays_up_without_data_plane(gateway, *words):
    """The status once it has found out; its log tells it once."""
    wait_until(gateway.socket.exists)
    trouble = wait_until(lambda: gateway.status()["reconcile"]["trouble"], 15, "the trouble in status")
    for word in words:
        assert word in trouble, trouble
    status, said = health(gateway)
    assert (status, said["status"], said["store"], said["backend"]) == (503, "unavailable", "ok", "unavailable")
    assert gateway.api.post("/tenants", {"name": "made meanwhile"})["status"] == "active"
    wait_until(lambda: trouble[:40] in gateway.log.read_text(), 10, "the trouble in the log")
    time.sleep(3)
    assert gateway.log.read_text().count(trouble[:40]) == 1
    assert gateway.process.poll() is None
    return trouble


def test_a_busy_udp_port(make_gateway):
    gateway = make_gateway(start=False)
    with gateway.namespace.inside():
        busy = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
    busy[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    busy[0].bind(("0.0.0.0", 51820))
    busy[1].bind(("::", 51820))
    started(gateway)
    wait_until(gateway.socket.exists)
    trouble = wait_until(lambda: gateway.status()["reconcile"]["trouble"], 15)
    assert "51820" in trouble
    assert health(gateway)[0] == 503 and health(gateway)[1]["backend"] == "unavailable"
    for held in busy:
        held.close()
    gateway.wait_in_sync(15)
    assert gateway.api.get("/health")["status"] == "ok"
    assert gateway.status()["gateway"]["listen_port"] == 51820


def test_no_engine(make_gateway):
    gateway = started(make_gateway({"backend": {"engine_path": "/nonexistent/sallyport-wg"}}, start=False))
    stays_up_without_data_plane(gateway, "/nonexistent/sallyport-wg")


def test_the_engine_is_told_which_interfaces_to_read_itself(make_gateway):
    gateway = make_gateway({"backend": {"xdp": "nosuch0"}})
    assert "--xdp: there is no interface 'nosuch0'" in (gateway.folder / "engine.log").read_text()
    assert gateway.status()["backend"]["offloads_off"]["xdp"] == "unsupported"


def test_the_engine_is_told_what_to_do_without(make_gateway):
    backend = make_gateway({"backend": {"offloads_off": "tso,uring"}}).status()["backend"]
    assert {name for name, why in backend["offloads_off"].items() if why == "switched_off"} == {
        "tso", "uso", "join_tcp", "join_udp", "uring", "xdp"}
    assert set(backend["offloads"].split(",")) <= {"gso", "gro"}


def test_no_tun(make_gateway, daemon):
    gateway = make_gateway(start=False)
    gateway.write_config()
    with open(gateway.log, "ab") as log:
        gateway.process = gateway.namespace.popen(
            "unshare", "--mount", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "sh", daemon, "--config",
            str(gateway.config), stdout=log, stderr=log)
    stays_up_without_data_plane(gateway, "tun")


def test_no_privilege(make_gateway, daemon):
    gateway = make_gateway(start=False)
    gateway.write_config()
    os.chown(gateway.folder, NOBODY, NOBODY)
    with open(gateway.log, "ab") as log:
        gateway.process = gateway.namespace.popen(
            "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--inh-caps=-all", daemon, "--config",
            str(gateway.config), stdout=log, stderr=log)
    stays_up_without_data_plane(gateway)
