<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

/** The gateway gave no answer. Whether it did what was asked is not known; a repeat of the same call is safe. */
final class ConnectionException extends SallyportException
{
    public function __construct(public readonly string $where, string $why, int $code = 0)
    {
        $hint = str_starts_with($where, '/')
            ? 'Does sallyportd run, is its socket mounted here, and is this user in its group?'
            : 'Does sallyportd listen there, and is the port open?';
        parent::__construct("The Sallyport gateway at {$where} cannot be reached: {$why}. {$hint}", $code);
    }
}
