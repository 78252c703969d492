<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

/** There is none, or none that this token may see. */
final class NotFoundException extends RequestException
{
}
