<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

use LogicException;

/** The gateway owns this column or row; the message names what to call instead. */
final class ReadOnlyException extends LogicException
{
    public static function column(string $table, string $column, string $instead): self
    {
        return new self("{$table}.{$column} belongs to Sallyport and cannot be written here: {$instead}");
    }

    public static function row(string $table, string $verb, string $instead): self
    {
        return new self("Rows of {$table} belong to Sallyport and cannot be {$verb} here: {$instead}");
    }
}
