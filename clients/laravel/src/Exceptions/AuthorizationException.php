<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

/** The token's scope does not allow it. */
final class AuthorizationException extends RequestException
{
}
