#!/usr/bin/python3
"""Writes vectors.h: handshakes, macs, cookies and packets by an implementation that shares no code with src/wire.

BLAKE2s and HMAC come from Python's hashlib and hmac (OpenSSL's and CPython's), X25519 and ChaCha20-Poly1305 from
python3-cryptography (OpenSSL), HChaCha20 is written out below after draft-irtf-cfrg-xchacha-03.

    tests/unit/wire/vectors.py > tests/unit/wire/vectors.h
    tests/unit/wire/vectors.py --corpus tests/fuzz/corpus/message
"""

import hashlib
import hmac
import ipaddress
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def blake2s(data, size=32, key=b""):
    return hashlib.blake2s(data, digest_size=size, key=key).digest()


def kdf(key, data, count):
    secret = hmac.new(key, data, "blake2s").digest()
    out = []
    for i in range(1, count + 1):
        out.append(hmac.new(secret, (out[-1] if out else b"") + bytes([i]), "blake2s").digest())
    return out


def public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(private, peer):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer))


def aead(key, counter, plain, ad=b""):
    return ChaCha20Poly1305(key).encrypt(bytes(4) + struct.pack("<Q", counter), plain, ad)


def hchacha20(key, nonce16):
    s = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key) + struct.unpack("<4I", nonce16))

    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            s[z] ^= s[x]
            s[z] = ((s[z] << turn) | (s[z] >> (32 - turn))) & 0xFFFFFFFF

    for _ in range(10):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *(s[:4] + s[12:]))


# draft-irtf-cfrg-xchacha-03, 2.2.1
assert hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927")).hex() == (
    "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")


def xaead(key, nonce, plain, ad):
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], plain, ad)


def stamp(message, responder_public, cookie=None):
    message += blake2s(message, 16, blake2s(b"mac1----" + responder_public))
    return message + (blake2s(message, 16, cookie) if cookie else bytes(16))


def secret(name):
    """Fixed 32 bytes for a name: the vectors must not change from run to run."""
    return hashlib.sha256(b"sallyport vector: " + name.encode()).digest()


def handshake(name, psk):
    v = {"name": name}
    si, sr, ei, er = (secret(f"{name} {x}") for x in ("initiator", "responder", "ephemeral i", "ephemeral r"))
    index_i, index_r = 0x11223344, 0xA1B2C3D4
    wall_ns = 1_700_000_000_987_654_321
    nanos = wall_ns % 10**9 // 2**24 * 2**24
    timestamp = struct.pack(">QI", 2**62 + 10 + wall_ns // 10**9, nanos)

    # 5.4.2
    c = blake2s(CONSTRUCTION)
    h = blake2s(blake2s(c + IDENTIFIER) + public(sr))
    v["responder_initial_hash"] = h
    h = blake2s(h + public(ei))
    c, = kdf(c, public(ei), 1)
    c, k = kdf(c, dh(ei, public(sr)), 2)
    sealed_static = aead(k, 0, public(si), h)
    h = blake2s(h + sealed_static)
    c, k = kdf(c, dh(si, public(sr)), 2)
    sealed_timestamp = aead(k, 0, timestamp, h)
    h = blake2s(h + sealed_timestamp)
    bare_initiation = struct.pack("<II", 1, index_i) + public(ei) + sealed_static + sealed_timestamp
    initiation = stamp(bare_initiation, public(sr))

    # 5.4.3
    h = blake2s(h + public(er))
    c, = kdf(c, public(er), 1)
    c, = kdf(c, dh(er, public(ei)), 1)
    c, = kdf(c, dh(er, public(si)), 1)
    c, t, k = kdf(c, psk, 3)
    h = blake2s(h + t)
    bare_response = struct.pack("<III", 2, index_r, index_i) + public(er) + aead(k, 0, b"", h)
    response = stamp(bare_response, public(si))
    to_responder, to_initiator = kdf(c, b"", 2)

    # 5.4.7
    cookie_secret, nonce = secret(f"{name} cookie"), secret(f"{name} nonce")[:24]
    cookie4 = blake2s(ipaddress.ip_address("192.0.2.7").packed + struct.pack(">H", 51821), 16, cookie_secret)
    cookie6 = blake2s(ipaddress.ip_address("2001:db8::7").packed + struct.pack(">H", 51821), 16, cookie_secret)
    cookie_key = blake2s(b"cookie--" + public(sr))
    mac1 = initiation[-32:-16]

    # 5.4.6
    inner = bytes([0x45, 0, 0, 20]) + bytes(range(16))
    large_counter = 0x0102030405060708
    v.update(
        initiator_private=si, initiator_public=public(si), responder_private=sr, responder_public=public(sr),
        preshared=psk, initiator_ephemeral=ei, responder_ephemeral=er, timestamp=timestamp,
        initiator_index=index_i, responder_index=index_r, wall_ns=wall_ns,
        initiation=initiation, response=response, to_responder=to_responder, to_initiator=to_initiator,
        cookie_secret=cookie_secret, cookie_nonce=nonce, cookie4=cookie4, cookie6=cookie6,
        cookie_reply4=struct.pack("<II", 3, index_i) + nonce + xaead(cookie_key, nonce, cookie4, mac1),
        cookie_reply6=struct.pack("<II", 3, index_i) + nonce + xaead(cookie_key, nonce, cookie6, mac1),
        initiation_with_mac2=stamp(bare_initiation, public(sr), cookie4),
        keepalive=struct.pack("<IIQ", 4, index_r, 0) + aead(to_responder, 0, b""),
        data=struct.pack("<IIQ", 4, index_r, 1) + aead(to_responder, 1, inner + bytes(12)),
        answer=struct.pack("<IIQ", 4, index_i, large_counter) + aead(to_initiator, large_counter, inner + bytes(12)),
        inner=inner, large_counter=large_counter,
    )
    return v


def low_order_points():
    p = 2**255 - 19
    a = 325606250916557431795983626356110631294008115727848805560023387167927233504
    b = 39382357235489614581723060781553021112529911719440698176882885853963445705823
    return [n.to_bytes(32, "little") for n in (0, 1, a, b, p - 1, p, p + 1)]


def aead_tags():
    key = secret("aead")
    rows = []
    for size in (0, 1, 15, 16, 17, 31, 32, 63, 64, 65, 127, 128, 255, 256, 257, 511, 512, 513, 1024, 1279, 1280, 1419,
                 1420, 1500, 2047, 8192, 65535):
        counter = (size * 0x9E3779B97F4A7C15) % 2**64
        plain = bytes((i * 7 + size) & 0xFF for i in range(size))
        rows.append((size, counter, aead(key, counter, plain)[-16:]))
    return key, rows


def c_bytes(data):
    return "{" + ", ".join(f"0x{b:02x}" for b in data) + "}"


def c_value(value):
    if isinstance(value, bytes):
        return c_bytes(value)
    if isinstance(value, str):
        return f'"{value}"'
    return f"UINT64_C({value:#x})" if value > 0xFFFFFFFF else f"{value:#x}"


def write_corpus(folder, vectors):
    """Genuine messages, and some that fail late, as seeds of tests/fuzz/fuzz_message.c."""
    plain, preshared = vectors
    seeds = {name: plain[name] for name in ("initiation", "response", "cookie_reply4", "cookie_reply6",
                                            "initiation_with_mac2", "keepalive", "data", "answer")}
    seeds["initiation_of_another"] = preshared["initiation"]
    seeds["response_of_another"] = preshared["response"]
    for name, at in (("initiation", 8), ("response", 12)):
        message = plain[name]
        seeds[f"{name}_of_low_order"] = message[:at] + low_order_points()[2] + message[at + 32:]
    seeds["data_at_the_last_counter"] = plain["data"][:8] + b"\xff" * 8 + plain["data"][16:]
    seeds["unknown_type"] = b"\x05" + plain["data"][1:]
    seeds["reserved_byte_set"] = plain["initiation"][:3] + b"\x01" + plain["initiation"][4:]
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


def main():
    vectors = [handshake("plain", bytes(32)), handshake("preshared", secret("preshared key"))]
    if sys.argv[1:2] == ["--corpus"]:
        write_corpus(pathlib.Path(sys.argv[2]), vectors)
        return
    print("/* Made by vectors.py; do not edit. */\n/* clang-format off */\n#pragma once\n\n#include <stdint.h>\n")
    print("struct handshake_vector {")
    for field, value in vectors[0].items():
        if isinstance(value, bytes):
            print(f"    uint8_t {field}[{len(value)}];")
        elif isinstance(value, str):
            print(f"    const char *{field};")
        else:
            print(f"    uint{64 if value > 0xFFFFFFFF else 32}_t {field};")
    print("};\n\nstatic const struct handshake_vector handshake_vectors[] = {")
    for v in vectors:
        print("    {")
        for field, value in v.items():
            print(f"        .{field} = {c_value(value)},")
        print("    },")
    print("};\n\n/* Public keys with which X25519 yields zero. */\nstatic const uint8_t low_order_points[][32] = {")
    for point in low_order_points():
        print(f"    {c_bytes(point)},")
    key, rows = aead_tags()
    print("};\n\n/* Tags of plaintexts whose byte i is i * 7 + size. */")
    print(f"static const uint8_t aead_vector_key[32] = {c_bytes(key)};")
    print("static const struct {\n    uint32_t size;\n    uint64_t counter;\n    uint8_t tag[16];\n} aead_vectors[] = {")
    for size, counter, tag in rows:
        print(f"    {{{size}, UINT64_C({counter:#x}), {c_bytes(tag)}}},")
    print("};")


main()
