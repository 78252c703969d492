<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Resources;

use Closure;
use Generator;
use Illuminate\Support\LazyCollection;

/** Follows a list from cursor to cursor. */
trait Pages
{
    /**
     * @template TItem
     *
     * @param  array<string, scalar|null>  $query
     * @param  Closure(array<string, mixed>): TItem  $item
     * @return LazyCollection<int, TItem>
     */
    private function pages(string $path, array $query, Closure $item): LazyCollection
    {
        $client = $this->client;

        return LazyCollection::make(static function () use ($client, $path, $query, $item): Generator {
            $cursor = null;
            do {
                $page = $client->get($path, ['cursor' => $cursor] + $query);
                foreach ($page['items'] as $each) {
                    yield $item($each);
                }
                $cursor = $page['next_cursor'];
            } while ($cursor !== null);
        });
    }
}
