<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Query\Builder;
use Illuminate\Support\Collection;
use Sallyport\Laravel\Exceptions\ReadOnlyException;

/**
 * Refuses to write what the gateway owns, with a word on what to call instead. Everything that a model, a relation or
 * an Eloquent query writes comes through here at last.
 */
final class OwnedQuery extends Builder
{
    /** @var (Model&OwnedByGateway)|null */
    private ?Model $owned = null;

    public static function of(Model $owned): self
    {
        $connection = $owned->getConnection();
        $query = new self($connection, $connection->getQueryGrammar(), $connection->getPostProcessor());
        $query->owned = $owned;

        return $query;
    }

    public function newQuery(): static
    {
        $query = parent::newQuery();
        $query->owned = $this->owned;

        return $query;
    }

    public function update(array $values): int
    {
        $this->guard($values);

        return parent::update($values);
    }

    public function updateFrom(array $values): int
    {
        $this->guard($values);

        return parent::updateFrom($values);
    }

    public function insert(array $values): bool
    {
        $this->refuse('made');
    }

    public function insertOrIgnore(array $values): int
    {
        $this->refuse('made');
    }

    public function insertOrIgnoreReturning(array $values, $returning = ['*'], $uniqueBy = null): Collection
    {
        $this->refuse('made');
    }

    public function insertGetId(array $values, $sequence = null): int
    {
        $this->refuse('made');
    }

    public function insertUsing(array $columns, $query): int
    {
        $this->refuse('made');
    }

    public function insertOrIgnoreUsing(array $columns, $query): int
    {
        $this->refuse('made');
    }

    public function upsert(array $values, $uniqueBy, $update = null): int
    {
        $this->refuse('made');
    }

    public function delete($id = null): int
    {
        $this->refuse('removed');
    }

    public function truncate(): void
    {
        $this->refuse('removed');
    }

    /** @param  array<string, mixed>  $values  by column, perhaps with its table before it */
    private function guard(array $values): void
    {
        $owned = $this->owned::ownedColumns();
        foreach (array_keys($values) as $column) {
            // some databases tell no capitals apart
            $name = strtolower(substr((string) strrchr(".{$column}", '.'), 1));
            if (isset($owned[$name])) {
                throw ReadOnlyException::column($this->owned->getTable(), $name, $owned[$name]);
            }
        }
    }

    private function refuse(string $verb): never
    {
        throw ReadOnlyException::row($this->owned->getTable(), $verb, $this->owned::insteadOf($verb));
    }
}
