<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

/** WireGuard keys for tests. */
final class Keys
{
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
        return preg_match('#^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$#', $text) === 1;
    }
}
