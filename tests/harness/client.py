"""A stock WireGuard client in a namespace, configured from wg-quick text: the kernel's WireGuard where there is one,
else Debian's wireguard-go in the foreground (its own daemonizing was seen to fail), or any other userspace program.

What wg-quick(8) does with the text is done here step by step: addresses, MTU, `wg setconf` of the rest, a route for each
allowed prefix.
"""
import functools
import pathlib
import socket
import subprocess
import time

from .netns import run, short_name


@functools.lru_cache
def kernel_has_wireguard():
    name = short_name("wgp")
    if subprocess.run(["ip", "link", "add", name, "type", "wireguard"], capture_output=True, check=False).returncode:
        return False
    run("ip", "link", "del", name)
    return True


def default_implementation():
    return "kernel" if kernel_has_wireguard() else "wireguard-go"


def key_pair():
    """(private, public) as wg(8) makes them."""
    private = run("wg", "genkey").strip()
    return private, run("wg", "pubkey", input=private + "\n").strip()


class Config:
    """wg-quick text taken apart: .addresses, .mtu, .allowed, .plain (what `wg setconf` reads)."""

    WG_QUICK_ONLY = {"address", "mtu", "dns", "table", "preup", "postup", "predown", "postdown", "saveconfig"}

    def __init__(self, text):
        self.addresses, self.allowed, self.mtu = [], [], None
        plain = []
        for line in text.splitlines():
            line = line.split("#", 1)[0].strip()
            key, _, value = (part.strip() for part in line.partition("="))
            match key.lower():
                case "address":
                    self.addresses += [part.strip() for part in value.split(",")]
                case "mtu":
                    self.mtu = int(value)
                case "allowedips":
                    self.allowed += [part.strip() for part in value.split(",")]
            if key.lower() not in self.WG_QUICK_ONLY:
                plain.append(line)
        self.plain = "\n".join(plain) + "\n"


class Client:
    """Client(namespace, text).up(); close() takes it down. `private_key` goes into a text that has none."""

    def __init__(self, namespace, text, private_key=None, implementation=None):
        self.namespace, self.config = namespace, Config(text)
        if private_key:
            self.config.plain = self.config.plain.replace("[Interface]", f"[Interface]\nPrivateKey = {private_key}", 1)
        self.implementation = implementation or default_implementation()
        self.interface = short_name("wg")
        self.process = None

    def _uapi(self):
        return pathlib.Path(f"/var/run/wireguard/{self.interface}.sock")

    def _listens(self):
        """wg(8) removes a socket that refuses it: it must not meet one that is bound and does not listen yet."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self._uapi())) == 0

    def _start_userspace(self):
        command = [self.implementation, "-f", self.interface]
        self.process = self.namespace.popen(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until = time.monotonic() + 10
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > until:
                self.process.kill()
                said = self.process.stderr.read().decode(errors="replace")
                raise RuntimeError(f"{' '.join(command)}: {said}")
            time.sleep(0.005)

    def up(self):
        try:
            self._up()
        except BaseException:
            self.close()
            raise
        return self

    def _up(self):
        if self.implementation == "kernel":
            self.namespace.ip("link", "add", self.interface, "type", "wireguard")
        else:
            self._start_userspace()
        self.wg("setconf", self.interface, "/dev/stdin", input=self.config.plain)
        commands = [f"addr add {address} dev {self.interface}" + (" nodad" if ":" in address else "")
                    for address in self.config.addresses]
        commands.append(f"link set {self.interface} mtu {self.config.mtu or 1420} up")
        commands += [f"route replace {prefix} dev {self.interface}"
                     for prefix in self.config.allowed]
        self.namespace.ip_batch(commands)

    def wg(self, *arguments, **options):
        return self.namespace.run("wg", *arguments, **options)

    def allow(self, *prefixes):
        """Routes further prefixes into the tunnel, whatever the configuration said: what a hostile router would do."""
        peer = self.wg("show", self.interface, "peers").strip()
        self.wg("set", self.interface, "peer", peer, "allowed-ips", ",".join([*self.config.allowed, *prefixes]))
        self.namespace.ip_batch([f"route replace {prefix} dev {self.interface}"
                                 for prefix in prefixes])

    def latest_handshake(self):
        """Seconds since the epoch; 0: never."""
        return int(self.wg("show", self.interface, "latest-handshakes").split()[1])

    def close(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stderr.close()
            self.process = None
            self._uapi().unlink(missing_ok=True)
        else:
            run("ip", "-n", self.namespace.name, "link", "del", self.interface, check=False)

    def __enter__(self):
        return self.up()

    def __exit__(self, *_):
        self.close()
