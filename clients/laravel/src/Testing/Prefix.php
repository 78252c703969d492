<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

/** An address or prefix of either family. */
final class Prefix
{
    private function __construct(private readonly string $bytes, public readonly int $length)
    {
    }

    /** Null if it is none. Without a length: the address alone. */
    public static function parse(string $text): ?self
    {
        [$address, $length] = explode('/', $text, 2) + [1 => null];
        $bytes = filter_var($address, FILTER_VALIDATE_IP) === false ? false : inet_pton($address);
        if ($bytes === false || ($length !== null && preg_match('/^\d{1,3}$/', $length) !== 1)) {
            return null;
        }
        $most = 8 * strlen($bytes);

        return (int) ($length ?? $most) > $most ? null : new self($bytes, (int) ($length ?? $most));
    }

    public function isIpv4(): bool
    {
        return strlen($this->bytes) === 4;
    }

    public function hasHostBits(): bool
    {
        return self::masked($this->bytes, $this->length) !== $this->bytes;
    }

    public function overlaps(self $other): bool
    {
        $length = min($this->length, $other->length);

        return strlen($this->bytes) === strlen($other->bytes) &&
            self::masked($this->bytes, $length) === self::masked($other->bytes, $length);
    }

    public function covers(self $other): bool
    {
        return $this->length <= $other->length && $this->overlaps($other);
    }

    /** The address alone, as the gateway writes it. */
    public function address(): string
    {
        return (string) inet_ntop($this->bytes);
    }

    /** The first or last of the prefix, which no router gets. */
    public function isEdge(self $address): bool
    {
        $last = $this->bytes | ~self::masked(str_repeat("\xff", strlen($this->bytes)), $this->length);

        return in_array($address->bytes, [$this->bytes, $last], true);
    }

    private static function masked(string $bytes, int $length): string
    {
        $mask = str_repeat("\xff", intdiv($length, 8));
        if ($length % 8 > 0) {
            $mask .= chr(0xff << 8 - $length % 8 & 0xff);
        }

        return $bytes & str_pad($mask, strlen($bytes), "\0");
    }
}
