<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;
use Illuminate\Contracts\Support\Arrayable;
use JsonSerializable;

/**
 * Something that the gateway told: typed properties, and the array as it was received. Fields that a newer gateway adds
 * are in the array.
 *
 * @implements Arrayable<string, mixed>
 */
abstract class Record implements Arrayable, JsonSerializable
{
    /** @param  array<string, mixed>  $raw */
    protected function __construct(protected readonly array $raw)
    {
    }

    /** @return array<string, mixed> */
    public function toArray(): array
    {
        return $this->raw;
    }

    /** @return array<string, mixed> */
    public function jsonSerialize(): array
    {
        return $this->toArray();
    }

    protected static function time(?string $text): ?CarbonImmutable
    {
        return $text === null ? null : CarbonImmutable::parse($text);
    }
}
