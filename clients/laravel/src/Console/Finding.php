<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Console;

/** One line of sallyport:doctor. */
final class Finding
{
    public const GOOD = 'ok';
    public const WARNING = 'warning';
    public const FAULT = 'fault';

    private function __construct(
        public readonly string $level,
        public readonly string $what,
        public readonly ?string $mend = null,
    ) {
    }

    public static function good(string $what): self
    {
        return new self(self::GOOD, $what);
    }

    public static function warning(string $what, string $mend): self
    {
        return new self(self::WARNING, $what, $mend);
    }

    public static function fault(string $what, string $mend): self
    {
        return new self(self::FAULT, $what, $mend);
    }
}
