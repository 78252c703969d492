<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Enums;

enum RouterStatus: string
{
    /** It may connect, and has not yet. */
    case Pending = 'pending';
    case Active = 'active';
    case Disabled = 'disabled';
}
