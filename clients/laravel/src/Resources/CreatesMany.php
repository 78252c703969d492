<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Resources;

use Closure;
use Illuminate\Support\Str;
use Sallyport\Laravel\Data\BulkItem;
use Sallyport\Laravel\Data\BulkResult;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Exceptions\BulkInterruptedException;
use Sallyport\Laravel\Exceptions\SallyportException;

/** Sends bulk requests, as many as the items need. */
trait CreatesMany
{
    /** The gateway takes 10,000 items and 8 MiB; an answer with configurations is about 1.5 KB an item. */
    private static int $itemsPerRequest = 2000;
    private static int $bytesPerRequest = 4 << 20;

    /** Seconds that such a request may take beyond any other. */
    private static float $patience = 60.0;

    /** @param  iterable<NewTenant|NewRouter>  $items */
    private function createInChunks(
        string $path,
        string $member,
        iterable $items,
        bool $minimal,
        ?string $idempotencyKey,
    ): BulkResult {
        $idempotencyKey ??= (string) Str::uuid();
        // a key has at most 128 characters, of which the number of the request takes some
        $key = substr(hash('sha256', $idempotencyKey), 0, 48);
        $made = $chunk = [];
        $weight = $bytes = $requests = 0;
        $query = $minimal ? ['return' => 'minimal'] : [];
        $flush = function () use (&$made, &$chunk, &$weight, &$bytes, &$requests, $path, $member, $query, $key): void {
            $answer = $this->client->create(
                $path,
                [$member => $chunk],
                "{$key}-{$requests}",
                $query,
                self::$patience,
            );
            foreach ($answer['items'] as $item) {
                $made[] = BulkItem::fromArray(count($made), $item);
            }
            $chunk = [];
            $weight = $bytes = 0;
            $requests++;
        };
        try {
            $this->eachChunk($items, $chunk, $weight, $bytes, $flush);
        } catch (SallyportException $error) {
            throw $made === [] ? $error : new BulkInterruptedException(new BulkResult($made), $idempotencyKey, $error);
        }

        return new BulkResult($made);
    }

    /** @param  iterable<NewTenant|NewRouter>  $items */
    private function eachChunk(iterable $items, array &$chunk, int &$weight, int &$bytes, Closure $flush): void
    {
        foreach ($items as $item) {
            $fields = $item->toArray();
            $size = strlen(json_encode($fields, JSON_THROW_ON_ERROR)) + 1;
            $routers = 1 + count($fields['routers'] ?? []);
            if (
                $chunk !== [] &&
                ($weight + $routers > self::$itemsPerRequest || $bytes + $size > self::$bytesPerRequest)
            ) {
                $flush();
            }
            $chunk[] = $fields;
            $weight += $routers;
            $bytes += $size;
        }
        if ($chunk !== []) {
            $flush();
        }
    }
}
