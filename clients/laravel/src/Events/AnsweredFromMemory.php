<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** The gateway's database is away, and it answered with what it knew so many seconds ago. */
final class AnsweredFromMemory
{
    public function __construct(public readonly string $path, public readonly int $seconds)
    {
    }
}
