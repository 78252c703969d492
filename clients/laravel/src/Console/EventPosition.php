<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Console;

use Illuminate\Contracts\Cache\Factory;
use Illuminate\Contracts\Cache\Repository;

/** How far sallyport:listen has come. */
final class EventPosition
{
    public function __construct(private readonly Factory $cache)
    {
    }

    public function get(): ?int
    {
        $revision = $this->store()->get($this->key());

        return $revision === null ? null : (int) $revision;
    }

    public function put(int $revision): void
    {
        $this->store()->forever($this->key(), $revision);
    }

    private function store(): Repository
    {
        return $this->cache->store(config('sallyport.events.store'));
    }

    private function key(): string
    {
        return (string) config('sallyport.events.key', 'sallyport.events.after');
    }
}
