<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** Its name or the prefixes behind it changed. */
final class RouterUpdated implements GatewayEvent
{
    use IsGatewayEvent;
}
