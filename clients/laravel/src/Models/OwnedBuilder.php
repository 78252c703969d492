<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Models;

use Illuminate\Database\Eloquent\Builder;
use Illuminate\Database\Eloquent\Model;
use Sallyport\Laravel\Exceptions\ReadOnlyException;

/**
 * Refuses to write what the gateway owns, with a word on what to call instead. Models save through here too.
 *
 * @template TModel of Model
 *
 * @extends Builder<TModel>
 */
final class OwnedBuilder extends Builder
{
    public function update(array $values): int
    {
        $this->guard(array_keys($values));

        return parent::update($values);
    }

    public function increment($column, $amount = 1, array $extra = []): int
    {
        $this->guard([(string) $column, ...array_keys($extra)]);

        return parent::increment($column, $amount, $extra);
    }

    public function decrement($column, $amount = 1, array $extra = []): int
    {
        $this->guard([(string) $column, ...array_keys($extra)]);

        return parent::decrement($column, $amount, $extra);
    }

    public function touch($column = null): mixed
    {
        $this->guard(array_filter([$column]));

        return parent::touch($column);
    }

    public function upsert(array $values, $uniqueBy, $update = null): int
    {
        $this->refuse('made');
    }

    public function delete(): mixed
    {
        $this->refuse('removed');
    }

    public function forceDelete(): mixed
    {
        $this->refuse('removed');
    }

    /** What the query builder beneath would do: models are inserted through here, for one. */
    public function __call($method, $parameters): mixed
    {
        match (true) {
            str_starts_with($method, 'insert') || $method === 'updateOrInsert' => $this->refuse('made'),
            $method === 'truncate' => $this->refuse('removed'),
            in_array($method, ['updateFrom', 'incrementEach', 'decrementEach'], true) => $this->guard(
                array_keys(array_merge($parameters[0], $parameters[1] ?? [])),
            ),
            default => null,
        };

        return parent::__call($method, $parameters);
    }

    /** @param  list<string>  $columns  perhaps with their table before them */
    private function guard(array $columns): void
    {
        $owned = $this->model::ownedColumns();
        foreach ($columns as $column) {
            $name = substr((string) strrchr(".{$column}", '.'), 1);
            if (isset($owned[$name])) {
                throw ReadOnlyException::column($this->model->getTable(), $name, $owned[$name]);
            }
        }
    }

    private function refuse(string $verb): never
    {
        throw ReadOnlyException::row($this->model->getTable(), $verb, $this->model::insteadOf($verb));
    }
}
