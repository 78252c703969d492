<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

/** It collides with what exists (a name, a key, an address), or a pool or a limit is used up. */
final class ConflictException extends RequestException
{
}
