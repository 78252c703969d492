<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Http;

use Sallyport\Laravel\Exceptions\ConnectionException;

/** Carries one request to the gateway and its answer back, whatever the answer's status. */
interface Transport
{
    /** @throws ConnectionException  if there is no answer */
    public function send(Request $request): Response;
}
