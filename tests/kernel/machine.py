"""A virtual machine with Debian's stock cloud kernel, for tests that need the kernel's own WireGuard.

    this machine                                    the virtual machine (qemu's software emulation)
    +--------------------------------+              +---------------------------------------------+
    |  /  (programs, build, tests) --- virtiofs ---->  / with a layer in memory: nothing is kept    |
    |  a folder of the run  <-------- virtiofs ------  the same folder: command, status, reports    |
    |  our stdout, FOLDER/output.log <- virtio console stdout and stderr of the command             |
    |  FOLDER/console.log  <--------- serial line      what the kernel says                         |
    +--------------------------------+              +---------------------------------------------+

The kernel is Debian's package linux-image-cloud-amd64, downloaded and unpacked into a cache, never installed. So every
program of this machine runs in there, on another kernel, whose network nobody else uses. Standard library only.
"""
import lzma
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sallyport" / "kernel"
META_PACKAGE = "linux-image-cloud-amd64"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd")

# In the initramfs: what it takes to see the host's files.
EARLY = ("virtio_pci", "virtio_console", "virtiofs", "overlay")
# Loaded from the host's files. The kernel asks for most of them by itself, at a time that would slow down a test.
WANTED = ("wireguard", "tun", "veth", "bridge", "dummy", "sch_ingress", "cls_bpf", "act_bpf", "nf_tables", "nft_ct",
          "nft_masq", "nft_chain_nat", "nf_conntrack")

# How a kernel in trouble begins to say so.
COMPLAINT = re.compile(r"BUG: |INFO: |WARNING: |Oops|Kernel panic|Out of memory|allocation failure|watchdog|clocksource: .*unstable")
# What it says when the processors that it was given stood still: a matter of the emulation, on a machine with too little time.
STOOD_STILL = re.compile(r"rcu.*(stall|starved)|soft lockup|timekeeping watchdog|clocksource: .*unstable")
# What is tested, wherever it is named in what the kernel says of its trouble.
TESTED = re.compile(r"bpf_prog_|\b(wg|tun|nf|nft|tcf|cls_bpf|veth|xdp)_|\[(wireguard|tun|nf_tables|nf_conntrack|cls_bpf|veth)\]|blocked for more than")
UP = "vm: up"  # init's: the command begins
ALIVE = "vm: alive"  # init's, every few seconds
ALIVE_S = 60  # a machine that has not said so for as long stands still


class MachineError(RuntimeError):
    """The machine could not do its work; not the command's own failure."""


class Hang(RuntimeError):
    """The command has not ended, and nothing says that it was the machine's fault."""


def is_machines_own(console):
    """Whether the kernel's words say that the emulation is why nothing goes on: it got into trouble before any command of ours ran, or
    found its processors standing still, and names nothing that is tested."""
    lines = console.splitlines()
    began = next((number for number, line in enumerate(lines) if COMPLAINT.search(line)), None)
    if began is None or any(TESTED.search(line) for line in lines[began:]):
        return False
    return UP not in console or bool(STOOD_STILL.search(lines[began]))


def _run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


# --- the kernel ---


class Archive:
    """Where packages come from: what this machine's apt knows, or Debian's backports, of which apt itself learns nothing."""

    def __init__(self, backports=False):
        self.folder = CACHE / "apt" if backports else None

    @property
    def _options(self):
        options = ["-o", "APT::Sandbox::User=root"]
        if self.folder:
            options += [word for key, value in (("Dir::Etc::sourcelist", self.folder / "sources.list"),
                                                ("Dir::Etc::sourceparts", "/dev/null"),
                                                ("Dir::State::lists", self.folder / "lists"),
                                                ("Dir::Cache", self.folder / "cache")) for word in ("-o", f"{key}={value}")]
        return options

    def _prepare(self):
        if not self.folder or (self.folder / "sources.list").exists():
            return
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        known = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages")
        signed = f" [signed-by={KEYRING}]" if os.path.exists(KEYRING) else ""
        for line in known.splitlines():
            uri, codename = line.split()
            if "-" not in codename:  # neither updates nor security
                (self.folder / "sources.list").write_text(f"deb{signed} {uri} {codename}-backports main\n", encoding="ascii")
                return
        raise MachineError("apt knows no archive of Debian")

    def newest(self, meta):
        """The real package behind a meta package, or None if apt does not know."""
        self._prepare()
        try:
            said = _run("apt-cache", *self._options, "depends", "--important", meta)
        except (MachineError, OSError):
            return None
        found = re.search(r"Depends: (linux-image-\S+-cloud-\S+)", said)
        return found.group(1) if found else None

    def version(self, package):
        self._prepare()
        found = re.search(r"Candidate: (\S+)", _run("apt-cache", *self._options, "policy", package))
        return found.group(1) if found and found.group(1) != "(none)" else None

    def update(self):
        self._prepare()
        _run("apt-get", *self._options, "update")

    def unpack(self, packages, into):
        """Downloads them and puts their files there."""
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="download-") as scratch:
            command = ["apt-get", *self._options, "download", *packages]
            try:
                _run(*command, cwd=scratch)
            except MachineError:
                self.update()
                _run(*command, cwd=scratch)
            for package in pathlib.Path(scratch).glob("*.deb"):
                _run("dpkg-deb", "-x", str(package), str(into))


def _keep(made, folder):
    """Under its name, unless another run was as quick."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    return folder


def kernel(backports=False):
    """The folder of an unpacked kernel, with vmlinuz and modules/VERSION; downloads it the first time."""
    archive = Archive(backports)
    CACHE.mkdir(parents=True, exist_ok=True)
    package = archive.newest(META_PACKAGE)
    if not package:
        known = [] if backports else sorted(CACHE.glob("linux-image-*"), key=lambda path: path.stat().st_mtime)
        if known:
            return known[-1]
        archive.update()
        package = archive.newest(META_PACKAGE)
        if not package:
            raise MachineError(f"apt knows no package {META_PACKAGE}: is this Debian on amd64?")
    folder = CACHE / package
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="unpack-") as scratch:
        scratch = pathlib.Path(scratch)
        archive.unpack([package], scratch / "files")
        modules = next((scratch / "files/lib/modules").iterdir())
        for packed in modules.rglob("*.ko.xz"):  # busybox loads them as they are only
            packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
            packed.unlink()
        _run("busybox", "depmod", "-b", str(scratch / "files"), modules.name)
        made = scratch / "made"
        made.mkdir()
        (scratch / f"files/boot/vmlinuz-{modules.name}").rename(made / "vmlinuz")
        (scratch / "files/lib/modules").rename(made / "modules")
        return _keep(made, folder)


def emulator():
    """The words that a newer qemu than this machine's begins with, from backports: the older one's emulation is not up to younger
    kernels."""
    archive = Archive(backports=True)
    version = archive.version("qemu-system-x86")
    if not version:
        archive.update()
        version = archive.version("qemu-system-x86")
    folder = CACHE / f"qemu-{version}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="unpack-") as scratch:
            made = pathlib.Path(scratch) / "made"
            archive.unpack(["qemu-system-x86", "qemu-system-data", "seabios"], made)
            _keep(made, folder)
    return [str(folder / "usr/bin/qemu-system-x86_64"), "-L", str(folder / "usr/share/qemu"), "-L", str(folder / "usr/share/seabios")]


# --- the initramfs ---


def _cpio(entries):
    """An archive as the kernel reads it (Documentation/driver-api/early-userspace/buffer-format.rst, "newc").
    `entries`: (name, mode, bytes)."""
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4)
        archive += content
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def _with_needs(names, folder):
    """The files of these modules and of what they need, in the order in which they load; not of what the kernel has built in."""
    built_in = {pathlib.PurePath(line).stem.replace("-", "_")
                for line in (folder / "modules.builtin").read_text(encoding="ascii").splitlines()}
    needs = {}
    for line in (folder / "modules.dep").read_text(encoding="ascii").splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    paths = {pathlib.PurePath(path).stem.replace("-", "_"): path for path in needs}
    ordered = []

    def add(path):
        for other in needs[path]:
            if other not in ordered:
                add(other)
        if path not in ordered:
            ordered.append(path)

    for name in names:
        if name not in built_in:
            add(paths[name])
    return [folder / path for path in ordered]


def _initramfs(unpacked):
    early = _with_needs(EARLY, next((unpacked / "modules").iterdir()))
    busybox = pathlib.Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    entries = [(name, 0o40755, b"") for name in ("bin", "modules")]
    entries += [("bin/busybox", 0o100755, busybox), ("init", 0o100755, (HERE / "init").read_bytes()),
                ("early", 0o100644, "\n".join(path.name for path in early).encode()), ("wanted", 0o100644, "\n".join(WANTED).encode())]
    entries += [(f"modules/{path.name}", 0o100644, path.read_bytes()) for path in early]
    return _cpio(entries)


# --- the machine ---


class Machine:
    """One boot, one command: Machine(folder).run(command). `folder` is shared with the command, under the same path."""

    def __init__(self, folder, memory_mb=2048, backports=False):
        self.folder = pathlib.Path(folder).resolve()
        self.memory_mb, self.backports = memory_mb, backports
        self.cpus = 1 if backports else 2  # two trip an assertion of that qemu, one time in two
        self.console = self.folder / "console.log"
        self.output = self.folder / "output.log"
        self._status = self.folder / "status"
        self._processes = []

    def _start(self, command, **options):
        # a group of its own: Ctrl-C is for us, and we end it
        process = subprocess.Popen(command, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def _share(self, scratch):
        server = next((path for path in VIRTIOFSD if os.path.exists(path)), None)
        if not server:
            raise MachineError("virtiofsd is missing; it comes with Debian's qemu-system-x86")
        socket = scratch / "share"
        with open(self.folder / "virtiofsd.log", "wb") as log:
            process = self._start([server, "-f", f"--socket-path={socket}", "-o", "source=/", "-o", "cache=always",
                                   "-o", "sandbox=chroot", "-o", "no_posix_lock", "-o", "log_level=err"],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 10
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise MachineError(f"virtiofsd: {(self.folder / 'virtiofsd.log').read_text()}")
            time.sleep(0.01)
        return socket

    def _qemu(self, unpacked, initramfs, share):
        line = ("console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off nokaslr tsc=reliable no_timer_check "
                f"random.trust_cpu=on vm.folder={self.folder} vm.modules={unpacked / 'modules'}")
        program = emulator() if self.backports else ["qemu-system-x86_64"]
        return [*program, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
                "-machine", "q35,memory-backend=memory", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max",
                "-smp", str(self.cpus), "-m", f"{self.memory_mb}M",
                "-object", f"memory-backend-memfd,id=memory,size={self.memory_mb}M,share=on",
                "-kernel", str(unpacked / "vmlinuz"), "-initrd", str(initramfs), "-append", line,
                "-chardev", f"file,id=kernel,path={self.console}", "-serial", "chardev:kernel",
                "-chardev", f"stdio,id=command,signal=off,logfile={self.output}", "-device", "virtio-serial-pci",
                "-device", "virtconsole,chardev=command",
                "-chardev", f"socket,id=share,path={share}",
                "-device", "vhost-user-fs-pci,chardev=share,tag=host,queue-size=1024",
                "-device", "virtio-rng-pci"]

    def run(self, command, environment=None, timeout=600, silence=None):
        """Boots, runs `command` (words) in our working folder, returns its exit status. If it never ends, or prints nothing for
        `silence` seconds: MachineError if that was the machine's fault, else Hang."""
        if not shutil.which("qemu-system-x86_64") or not shutil.which("busybox"):
            raise MachineError("qemu-system-x86 and busybox-static are needed")
        unpacked = kernel(self.backports)
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in (self._status, self.output):
            old.unlink(missing_ok=True)
        variables = " ".join(f"{key}={shlex.quote(value)}" for key, value in (environment or {}).items())
        (self.folder / "command").write_text(
            f"cd {shlex.quote(os.getcwd())} && exec env -i {variables} {' '.join(map(shlex.quote, command))}\n",
            encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="sallyport-vm-") as scratch:
            scratch = pathlib.Path(scratch)
            try:
                (scratch / "initramfs").write_bytes(_initramfs(unpacked))
                qemu = self._start(self._qemu(unpacked, scratch / "initramfs", self._share(scratch)),
                                   stdin=subprocess.DEVNULL)
                self._wait(qemu, timeout, silence or timeout)
            finally:
                self.close()
        if not self._status.exists():
            raise self._ended("it ended without a status")
        return int(self._status.read_text())

    def _wait(self, qemu, timeout, silence):
        until = time.monotonic() + timeout
        while qemu.poll() is None:
            try:
                qemu.wait(1)
            except subprocess.TimeoutExpired:
                if time.monotonic() > until:
                    raise self._ended(f"not done within {timeout} s") from None
                if time.time() - self.output.stat().st_mtime > silence:
                    raise self._ended(f"silent for {silence} s") from None

    def _ended(self, how):
        console = self.console.read_text(errors="replace") if self.console.exists() else ""
        stood_still = not self.console.exists() or time.time() - self.console.stat().st_mtime > ALIVE_S
        whose = MachineError if is_machines_own(console) else Hang
        what = "the whole machine stands still" if stood_still else "the machine itself lives"
        return whose(f"{how}; {what}; the kernel's words:\n{self._words()}")

    def _words(self, first=25, last=10):
        """What the kernel complained of first, and what it said last."""
        said = self.console.read_text(errors="replace").splitlines() if self.console.exists() else []
        lines = [line for line in said if ALIVE not in line]
        began = next((number for number, line in enumerate(lines) if COMPLAINT.search(line)), len(lines))
        end = min(began + first, len(lines))
        return "\n".join([*lines[began:end], "...", *lines[max(end, len(lines) - last):]])

    def close(self):
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._processes = []
