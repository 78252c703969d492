<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Enums;

/** The forms in which the gateway writes a router's configuration. */
enum ConfigFormat: string
{
    case WgQuick = 'wg-quick';
}
