<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

use RuntimeException;

/** Whatever goes wrong between this application and the gateway. */
abstract class SallyportException extends RuntimeException
{
}
