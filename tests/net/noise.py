"""A WireGuard end of a test's own: it can say what no well-behaved client would.

Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s after the WireGuard whitepaper, section 5.4, over Python's `cryptography` and
hashlib: slow, independent of the code under test, and every step may be interfered with.
"""
import hashlib
import hmac
import os
import struct
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt

from lab import SLOW, Key

INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4


def _hash(*parts):
    return hashlib.blake2s(b"".join(parts)).digest()


def mac(key, message):
    return hashlib.blake2s(message, key=key, digest_size=16).digest()


def _kdf(key, message, count):
    def digest(secret, data):
        return hmac.new(secret, data, hashlib.blake2s).digest()
    secret, outputs, last = digest(key, message), [], b""
    for number in range(1, count + 1):
        last = digest(secret, last + bytes([number]))
        outputs.append(last)
    return outputs


def _dh(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def _nonce(counter):
    return struct.pack("<IQ", 0, counter)


CHAIN = _hash(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
START = _hash(CHAIN, b"WireGuard v1 zx2c4 Jason@zx2c4.com")


def tai64n(seconds=None):
    now = time.time() if seconds is None else seconds
    return struct.pack(">QI", (1 << 62) + 10 + int(now), int(now % 1 * 1e9))


def mac1_key(public):
    return _hash(b"mac1----", public)


class Session:
    """Transport keys, from this end's view."""

    def __init__(self, send, receive, local, remote):
        self.send_key, self.receive_key = ChaCha20Poly1305(send), ChaCha20Poly1305(receive)
        self.local, self.remote = local, remote
        self.counter = 0

    def seal(self, inner, counter=None, pad=True):
        if counter is None:
            counter, self.counter = self.counter, self.counter + 1
        if pad:
            inner += bytes(-len(inner) % 16)
        return struct.pack("<IIQ", DATA, self.remote, counter) + self.send_key.encrypt(_nonce(counter), inner, None)

    def open(self, packet):
        """The padded plaintext, or None if the packet is not of this session."""
        if len(packet) < 32 or packet[:4] != struct.pack("<I", DATA):
            return None
        receiver, counter = struct.unpack_from("<IQ", packet, 4)
        if receiver != self.local:
            return None
        try:
            return self.receive_key.decrypt(_nonce(counter), packet[16:], None)
        except InvalidTag:
            return None


class Peer:
    """One end, over a UDP socket bound to its address and a remote endpoint."""

    def __init__(self, socket, remote_public, endpoint, key=None, psk=None):
        self.socket, self.remote_public, self.endpoint = socket, remote_public, endpoint
        self.key = key or Key()
        self.psk = psk or bytes(32)
        self.cookie = None
        self.session = None

    def send(self, packet, endpoint=None):
        self.socket.sendto(packet, endpoint or self.endpoint)

    def receive(self, kind=None, timeout=2):
        """The next datagram (of a type); None if there is none."""
        end = time.monotonic() + timeout * SLOW
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                packet, self.heard_from = self.socket.recvfrom(65536)
            except TimeoutError:
                break
            if kind is None or packet[0] == kind:
                return packet
        return None

    def initiation(self, timestamp=None, ephemeral=None):
        """Begins a handshake; the message is returned, the state kept for finish()."""
        self.ephemeral = ephemeral or Key()
        self.index = int.from_bytes(os.urandom(4), "little")
        c, h = CHAIN, _hash(START, self.remote_public)
        c, = _kdf(c, self.ephemeral.public, 1)
        h = _hash(h, self.ephemeral.public)
        c, k = _kdf(c, _dh(self.ephemeral.private, self.remote_public), 2)
        static = ChaCha20Poly1305(k).encrypt(_nonce(0), self.key.public, h)
        h = _hash(h, static)
        c, k = _kdf(c, _dh(self.key.private, self.remote_public), 2)
        stamp = ChaCha20Poly1305(k).encrypt(_nonce(0), timestamp or tai64n(), h)
        h = _hash(h, stamp)
        self.state = c, h
        message = struct.pack("<II", INITIATION, self.index) + self.ephemeral.public + static + stamp
        return self.stamped(message)

    def stamped(self, message):
        """Appends both macs."""
        self.last_mac1 = mac(mac1_key(self.remote_public), message)
        message += self.last_mac1
        return message + (mac(self.cookie, message) if self.cookie else bytes(16))

    def finish(self, response):
        """Consumes the answer to initiation(); the session, or None."""
        kind, remote, receiver = struct.unpack_from("<III", response)
        if len(response) != 92 or kind != RESPONSE or receiver != self.index:
            return None
        theirs, nothing = response[12:44], response[44:60]
        c, h = self.state
        c, = _kdf(c, theirs, 1)
        h = _hash(h, theirs)
        c, = _kdf(c, _dh(self.ephemeral.private, theirs), 1)
        c, = _kdf(c, _dh(self.key.private, theirs), 1)
        c, t, k = _kdf(c, self.psk, 3)
        h = _hash(h, t)
        try:
            ChaCha20Poly1305(k).decrypt(_nonce(0), nothing, h)
        except InvalidTag:
            return None
        send, receive = _kdf(c, b"", 2)
        self.session = Session(send, receive, self.index, remote)
        return self.session

    def handshake(self, timeout=2):
        """All of it as initiator, with the first packet that confirms it (a keepalive). Heeds a cookie."""
        response = None
        for _ in range(3):
            self.send(self.initiation())
            response = self.receive(timeout=timeout)
            if not response or response[0] != COOKIE:
                break
            self.take_cookie(response)
            time.sleep(0.05)
        assert response and response[0] == RESPONSE, "no response to the initiation"
        assert self.finish(response), "the response does not authenticate"
        self.send(self.session.seal(b""))
        return self.session

    def answer(self, initiation):
        """As responder: the response to an initiation; sets the session. None if it is not for us."""
        remote = struct.unpack_from("<I", initiation, 4)[0]
        theirs, static, stamp = initiation[8:40], initiation[40:88], initiation[88:116]
        c, h = CHAIN, _hash(START, self.key.public)
        c, = _kdf(c, theirs, 1)
        h = _hash(h, theirs)
        c, k = _kdf(c, _dh(self.key.private, theirs), 2)
        public = ChaCha20Poly1305(k).decrypt(_nonce(0), static, h)
        h = _hash(h, static)
        c, k = _kdf(c, _dh(self.key.private, public), 2)
        self.heard_timestamp = ChaCha20Poly1305(k).decrypt(_nonce(0), stamp, h)
        h = _hash(h, stamp)
        ephemeral, index = Key(), int.from_bytes(os.urandom(4), "little")
        c, = _kdf(c, ephemeral.public, 1)
        h = _hash(h, ephemeral.public)
        c, = _kdf(c, _dh(ephemeral.private, theirs), 1)
        c, = _kdf(c, _dh(ephemeral.private, public), 1)
        c, t, k = _kdf(c, self.psk, 3)
        h = _hash(h, t)
        nothing = ChaCha20Poly1305(k).encrypt(_nonce(0), b"", h)
        receive, send = _kdf(c, b"", 2)
        self.session = Session(send, receive, index, remote)
        return self.stamped(struct.pack("<III", RESPONSE, index, remote) + ephemeral.public + nothing)

    def cookie_reply(self, message, cookie=None):
        """A cookie reply to a message that came in (the remote is its sender)."""
        sender = message[4:8]
        nonce, secret = os.urandom(24), _hash(b"cookie--", self.key.public)
        sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(cookie or os.urandom(16), message[-32:-16], nonce, secret)
        return struct.pack("<I", COOKIE) + sender + nonce + sealed

    def take_cookie(self, reply):
        """Consumes a cookie reply to our last message."""
        secret = _hash(b"cookie--", self.remote_public)
        self.cookie = crypto_aead_xchacha20poly1305_ietf_decrypt(reply[32:64], self.last_mac1, reply[8:32], secret)
