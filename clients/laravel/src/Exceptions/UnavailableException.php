<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

/** The database or the data plane is away, also after the tries that are configured. */
final class UnavailableException extends RequestException
{
}
