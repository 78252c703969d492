<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

use Sallyport\Laravel\Data\BulkResult;

/**
 * Some requests of a bulk call were answered, and then one was not. What was made so far is in $result, with its
 * private keys; the same call with $idempotencyKey goes on from there, and is answered again for what was made.
 */
final class BulkInterruptedException extends SallyportException
{
    public function __construct(
        public readonly BulkResult $result,
        public readonly string $idempotencyKey,
        SallyportException $why,
    ) {
        $done = count($result);
        parent::__construct("After {$done} items: {$why->getMessage()}", (int) $why->getCode(), $why);
    }
}
