<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

use LogicException;

/** The gateway acknowledged a row that this application's database does not have. */
final class DatabaseMismatchException extends LogicException
{
    public function __construct(string $table, string $column, string $id)
    {
        parent::__construct(
            "The gateway has {$column} {$id}, the table {$table} here has not: " .
                "it is in another database than the gateway's. " .
                'Set SALLYPORT_DB_CONNECTION, or SALLYPORT_DATABASE to "mirror" or "none".',
        );
    }
}
