#!/usr/bin/python3
"""A PostgreSQL of the system's package, in a folder of its own, on a Unix socket; gone again with whoever started it.

    with Server() as server:                       # fsync off: for tests
        url = server.database("fleet")             # a new, empty database

    tests/harness/postgresql.py COMMAND [ARG]...   # runs it with SALLYPORT_TEST_STORE=<url>, for the unit tests

PostgreSQL refuses to run as root: then it runs as nobody. It listens on no port, so nothing else meets it."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness.netns import die_with_parent  # noqa: E402

SUPERUSER = "sallyport"


def programs():
    """Where the server's programs are: Debian keeps them out of the PATH, by version."""
    for folder in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True):
        if (folder / "postgres").exists():
            return folder
    found = shutil.which("postgres")
    if not found:
        raise FileNotFoundError("PostgreSQL's server is not installed; install the package postgresql")
    return pathlib.Path(found).parent


def identity():
    """Keyword arguments for subprocess that make the child unprivileged, if we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Server:
    """Server(fsync=False).start() or as a context; .database(name) gives a URL; .kill(), .stop(), .pause(), .resume(), .demote(), .promote(),
    .start() again on what it holds; .close() removes everything."""

    def __init__(self, fsync=False, settings=None, authentication="trust"):
        self.bin = programs()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-pg-"))
        self.data, self.log = self.folder / "data", self.folder / "log"
        self.socket = self.folder / "run"
        self.settings = {
            "listen_addresses": "", "unix_socket_directories": str(self.socket), "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off", "max_connections": "60", "shared_buffers": "64MB",
            "log_min_duration_statement": "-1", "dynamic_shared_memory_type": "mmap", "autovacuum_naptime": "20s",
            **(settings or {}),
        }
        self.authentication = authentication
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def run(self, program, *args, **kwargs):
        return subprocess.run([str(self.bin / program), *args], cwd=self.folder, stdin=subprocess.DEVNULL, check=True,
                              capture_output=True, text=True, env=self.environment(), **identity(), **kwargs)

    @staticmethod
    def environment():
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def create(self):
        if os.geteuid() == 0:
            os.chown(self.folder, identity()["user"], identity()["group"])
        os.chmod(self.folder, 0o755)
        self.run("initdb", "--no-sync", "--pgdata", str(self.data), "--username", SUPERUSER, "--encoding", "UTF8",
                 "--locale", "C.UTF-8", "--auth-local", self.authentication, "--auth-host", self.authentication)
        subprocess.run(["mkdir", str(self.socket)], check=True, **identity())

    def start(self):
        if not self.data.exists():
            self.create()
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(self.bin / "postgres"), "-D", str(self.data),
                 *[item for key, value in self.settings.items() for item in ("-c", f"{key}={value}")]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=self.environment(),
                start_new_session=True, preexec_fn=die_with_parent, **identity())
        for _ in range(300):
            if subprocess.run([str(self.bin / "pg_isready"), "-q", "-h", str(self.socket)], check=False).returncode == 0:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL did not start:\n" + self.log.read_text(errors="replace")[-2000:])

    def children(self):
        """The server's own processes, which a killed postmaster leaves behind for a moment."""
        pids = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    pids.append(int(entry.name))
            except (OSError, ValueError, IndexError):
                continue
        return pids

    def kill(self):
        """As a power cut would: nobody writes anything out."""
        pids = [self.process.pid, *self.children()]
        self.signal(signal.SIGSTOP, pids)
        self.signal(signal.SIGKILL, pids)
        self.process.wait()
        while any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids):
            time.sleep(0.01)

    @staticmethod
    def signal(number, pids):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def pause(self):
        """It hangs: connections stay, nothing answers."""
        self.signal(signal.SIGSTOP, [self.process.pid, *self.children()])

    def resume(self):
        self.signal(signal.SIGCONT, [self.process.pid, *self.children()])

    def stop(self):
        """Ends sessions and shuts down in order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)

    def demote(self):
        """It comes back as a standby whose primary is not there: it can be read."""
        self.stop()
        subprocess.run(["touch", str(self.data / "standby.signal")], check=True, **identity())
        self.start()

    def promote(self):
        """Takes over, with a new timeline."""
        self.sql("SELECT pg_promote()")

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.process.send_signal(signal.SIGQUIT)  # at once, but it gives its shared memory back
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name, user=SUPERUSER, **parameters):
        query = urllib.parse.urlencode({"host": str(self.socket), **parameters}, quote_via=urllib.parse.quote)
        return f"postgresql://{user}@/{name}?{query}"

    def sql(self, text, name="postgres", user=SUPERUSER):
        """What psql prints, without decoration: rows are lines, columns are separated by |."""
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.socket), "-U", user,
                        "-d", name, "-c", text).stdout.strip()

    def database(self, name):
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with Server() as server:
        environment = {**os.environ, "SALLYPORT_TEST_STORE": server.database("tests")}
        return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
