<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

/** WireGuard keys for tests. */
final class Keys
{
    /** The points of order 1, 2, 4 and 8, with the encodings that are not reduced. */
    private const WEAK = [
        '0000000000000000000000000000000000000000000000000000000000000000',
        '0100000000000000000000000000000000000000000000000000000000000000',
        'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
        '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
        'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
        'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
        'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    ];

    /** @return array{string, string}  private and public, in base64 */
    public static function pair(): array
    {
        $private = random_bytes(32);
        $private[0] = chr(ord($private[0]) & 248);
        $private[31] = chr((ord($private[31]) & 127) | 64);
        // without libsodium the two do not belong together; nothing in memory notices
        $public = function_exists('sodium_crypto_scalarmult_base')
            ? sodium_crypto_scalarmult_base($private)
            : random_bytes(32);

        return [base64_encode($private), base64_encode($public)];
    }

    public static function isKey(string $text): bool
    {
        return preg_match('#^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$#D', $text) === 1 &&
            trim((string) base64_decode($text), "\0") !== '';
    }

    /** Whether it is a point of low order, which gives every session the same secret. */
    public static function isWeak(string $key): bool
    {
        $bytes = (string) base64_decode($key);
        // X25519 ignores the highest bit (RFC 7748, section 5)
        $bytes[31] = chr(ord($bytes[31]) & 0x7f);

        return in_array(bin2hex($bytes), self::WEAK, true);
    }
}
