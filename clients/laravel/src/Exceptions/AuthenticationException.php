<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

/** No token, or one that is unknown, revoked or expired. */
final class AuthenticationException extends RequestException
{
}
