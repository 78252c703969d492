<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Countable;
use Illuminate\Support\Collection;
use IteratorAggregate;
use Sallyport\Laravel\Exceptions\RequestException;
use Traversable;

/**
 * What became of each item of a bulk request, in the order given. Each stands or falls alone.
 *
 * @implements IteratorAggregate<int, BulkItem>
 */
final class BulkResult implements Countable, IteratorAggregate
{
    /** @param  list<BulkItem>  $items */
    public function __construct(private readonly array $items)
    {
    }

    /** @return Collection<int, BulkItem> */
    public function items(): Collection
    {
        return new Collection($this->items);
    }

    /** @return Collection<int, BulkItem>  by their place among those given */
    public function created(): Collection
    {
        return $this->items()->filter(static fn (BulkItem $item): bool => $item->created());
    }

    /** @return Collection<int, BulkItem>  by their place among those given */
    public function failed(): Collection
    {
        return $this->items()->reject(static fn (BulkItem $item): bool => $item->created());
    }

    public function allCreated(): bool
    {
        return $this->failed()->isEmpty();
    }

    /** Throws the first refusal, if there is one. What was made stays made. */
    public function throw(): self
    {
        foreach ($this->items as $item) {
            if ($item->problem !== null) {
                throw RequestException::of($item->problem);
            }
        }

        return $this;
    }

    public function count(): int
    {
        return count($this->items);
    }

    public function getIterator(): Traversable
    {
        return $this->items()->getIterator();
    }
}
