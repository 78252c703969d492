<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

use Sallyport\Laravel\Http\Response;

/** An answer that no Sallyport gives: something else listens there, or a proxy stands between. */
final class UnexpectedResponseException extends SallyportException
{
    public function __construct(public readonly Response $response)
    {
        $type = $response->header('Content-Type') ?? 'no type';
        parent::__construct(
            "The answer is not one of Sallyport's (status {$response->status}, {$type}). " .
                'Is something else at this address?',
        );
    }
}
