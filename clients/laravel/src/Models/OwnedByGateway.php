<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Models;

/**
 * For models whose rows the gateway keeps. Columns of your own beside its columns may be written as in any model; its
 * own may not, neither through a model nor through a query.
 */
trait OwnedByGateway
{
    /** @return array<string, string>  each column that the gateway owns, and what to call to change it */
    abstract public static function ownedColumns(): array;

    /** What to call to make, and to remove, such a row. */
    abstract public static function insteadOf(string $verb): string;

    protected function newBaseQueryBuilder(): OwnedQuery
    {
        return OwnedQuery::of($this);
    }

    public function getConnectionName(): ?string
    {
        return $this->connection ?? config('sallyport.database.connection');
    }

    /**
     * Takes over a row as the gateway, or the database, has it now: nothing is dirty afterwards.
     *
     * @param  array<string, mixed>  $row
     * @param  string|null  $connection  where the row is, if it is in a database
     */
    public function takeOver(array $row, ?string $connection = null): static
    {
        $this->setRawAttributes($row, true);
        $this->setRelations([]);
        $this->exists = true;
        if ($connection !== null) {
            $this->setConnection($connection);
        }

        return $this;
    }
}
