"""sallyportd and its engine, in a namespace and a folder of their own.

The engine outlives sallyportd by design, so close() ends both: the engine is found by its interface's name, which is
unique to this Gateway.
"""
import os
import pathlib
import signal
import subprocess
import time

from .api import Api, ApiError
from .netns import die_with_parent, short_name

PROGRAMS = {"sallyportd": "src/daemon/sallyportd", "sallyport-wg": "src/engine/sallyport-wg",
            "sallyport": "src/cli/sallyport"}
HOOKS = ("SALLYPORT_TEST_CLOCK_", "SALLYPORT_TEST_USAGE_")  # tests/hooks.c


def program(build, name, environment=None):
    """The path of a built program; FileNotFoundError says what to do. What is shipped knows no hooks: an environment that turns
    one gets the program that is built for tests."""
    hooked = any(variable.startswith(HOOKS) for variable in environment or ())
    path = pathlib.Path(build).resolve() / (PROGRAMS[name] + ("-test" if hooked else ""))
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; build it first: ninja -C {build}")
    return str(path)


def memory_mb(pid):
    """Resident memory of a process, in MB (10^6 bytes)."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def cpu_s(pid):
    """User and system time of a process so far, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Gateway:
    """Gateway(build, folder, namespace).start(); then .api, .status(), .kill(), .start() again, .close().

    `settings` overrides the configuration: {"gateway": {"pool": "10.0.0.0/8"}, ...}. With `namespace` None it runs
    where we are."""

    def __init__(self, build, folder, namespace=None, settings=None, environment=None):
        self.build, self.folder, self.namespace = build, pathlib.Path(folder), namespace
        self.interface = short_name("sp")
        self.environment = {**os.environ, **(environment or {})}
        self.socket = self.folder / "api.sock"
        self.config = self.folder / "sallyport.conf"
        self.log = self.folder / "sallyportd.log"
        self.process = None
        self.api = Api(self.socket)
        self.settings = {
            "gateway": {"interface": self.interface, "listen_port": 51820,
                        "endpoint": getattr(namespace, "address", "127.0.0.1")},
            "backend": {"kind": "engine", "engine_path": program(build, "sallyport-wg", self.environment)},
            "store": {"url": f"sqlite:{self.folder}/sallyport.db"},
            "api": {"socket": str(self.socket)},
            "daemon": {"state_dir": str(self.folder), "log_level": "info"},
        }
        for section, keys in (settings or {}).items():
            self.settings.setdefault(section, {}).update(keys)
        self.folder.mkdir(parents=True, exist_ok=True)

    def write_config(self):
        self.config.write_text("\n".join(
            f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
            for section, keys in self.settings.items()), encoding="utf-8")

    def start(self, wait=True, timeout=20):
        """Starts sallyportd; returns once it answers and its data plane is in sync. RuntimeError with its log if not."""
        self.write_config()
        command = [program(self.build, "sallyportd", self.environment), "--config", str(self.config)]
        with open(self.log, "ab") as log:
            if self.namespace:
                self.process = self.namespace.popen(*command, stdout=log, stderr=log, env=self.environment)
            else:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                env=self.environment, preexec_fn=die_with_parent,
                                                start_new_session=True)
        if wait:
            self.wait_in_sync(timeout)
        return self

    def wait_in_sync(self, timeout=20):
        """Waits until status says the data plane holds what the store says. Returns the status."""
        until = time.monotonic() + timeout
        while True:
            try:
                status = self.api.get("/status")
                if status["backend"]["up"] and status["reconcile"]["state"] == "in-sync":
                    return status
                seen = f"backend up: {status['backend']['up']}, reconcile: {status['reconcile']}"
            except (OSError, ApiError) as error:
                self.api.close()
                seen = str(error)
            if self.process.poll() is not None:
                raise RuntimeError(f"sallyportd ended with status {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > until:
                raise RuntimeError(f"sallyportd is not in sync after {timeout} s ({seen}):\n{self.log_tail()}")
            time.sleep(0.01)

    def status(self):
        return self.api.get("/status")

    def log_tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def end(self, with_signal=signal.SIGTERM, timeout=20):
        """Ends sallyportd only; its exit status (negative: the signal)."""
        if not self.process:
            return None
        self.api.close()
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None

    def kill(self):
        """kill -9 of sallyportd; the engine goes on."""
        return self.end(signal.SIGKILL)

    def engine_pid(self):
        """The engine's pid, or None. Found by its arguments: our interface's name is nobody else's."""
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if b"sallyport-wg" in arguments[0] and self.interface.encode() in arguments[1:] and state != "Z":
                return int(entry.name)
        return None

    def end_engine(self, with_signal=signal.SIGTERM):
        """Ends the engine and waits until it is gone."""
        pid = self.engine_pid()
        until = time.monotonic() + 10
        while pid:
            try:
                os.kill(pid, with_signal)
            except ProcessLookupError:
                pass
            while self.engine_pid() == pid and time.monotonic() < until:
                time.sleep(0.02)
            if time.monotonic() >= until:
                with_signal, until = signal.SIGKILL, until + 10
            pid = self.engine_pid()

    def close(self):
        try:
            if self.process:
                self.end()
        finally:
            self.end_engine()
            pathlib.Path(f"/var/run/wireguard/{self.interface}.sock").unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
