<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Enums;

enum TenantStatus: string
{
    case Active = 'active';

    /** None of its routers can connect. */
    case Disabled = 'disabled';
}
