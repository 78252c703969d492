<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Support;

use LogicException;
use SensitiveParameter;
use WeakMap;

/**
 * A text that no dump, export or encoding of an object shows: it is not a property of anything, since a debugger's
 * dump, dd() among them, reads properties past __debugInfo(). Jobs carry it in their encrypted payload.
 */
final class Secret
{
    /** @var WeakMap<self, string>|null */
    private static ?WeakMap $texts = null;

    public function __construct(#[SensitiveParameter] string $text)
    {
        $this->keep($text);
    }

    public static function orNull(#[SensitiveParameter] ?string $text): ?self
    {
        return $text === null ? null : new self($text);
    }

    public function reveal(): string
    {
        return self::$texts[$this];
    }

    /** @return array{text: string} */
    public function __serialize(): array
    {
        return ['text' => $this->reveal()];
    }

    /** @param  array{text: string}  $data */
    public function __unserialize(#[SensitiveParameter] array $data): void
    {
        $this->keep($data['text']);
    }

    public function __clone()
    {
        throw new LogicException('A secret is handed on, not copied.');
    }

    private function keep(#[SensitiveParameter] string $text): void
    {
        self::$texts ??= new WeakMap();
        self::$texts[$this] = $text;
    }
}
