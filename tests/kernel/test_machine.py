"""The machine itself: a stock kernel whose WireGuard works, and nothing of ours in the way."""
import pathlib
import platform

from harness.client import Client, key_pair
from harness.netns import Network
from harness.probe import ping


def test_the_kernel_is_debians_cloud_kernel():
    assert platform.release().endswith("-cloud-amd64")


def test_kernel_wireguard_peers_in_two_namespaces_ping_each_other():
    with Network("vm") as network:
        ends = [network.host("a"), network.host("b")]
        keys = [key_pair() for _ in ends]
        texts = [f"""[Interface]
Address = 10.77.0.{own + 1}/32, fd77::{own + 1}/128
PrivateKey = {keys[own][0]}
ListenPort = 51820

[Peer]
PublicKey = {keys[other][1]}
Endpoint = {ends[other].address}:51820
AllowedIPs = 10.77.0.{other + 1}/32, fd77::{other + 1}/128
""" for own, other in ((0, 1), (1, 0))]
        with Client(ends[0], texts[0]) as a, Client(ends[1], texts[1]) as b:
            assert (a.implementation, b.implementation) == ("kernel", "kernel")
            assert ping(ends[0], ["10.77.0.2", "fd77::2"], wait=10) == {"10.77.0.2", "fd77::2"}
            assert a.latest_handshake() > 0


def test_bpffs_is_mounted():
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text(encoding="ascii").splitlines()]
    assert ["/sys/fs/bpf", "bpf"] in [words[1:3] for words in mounts]
