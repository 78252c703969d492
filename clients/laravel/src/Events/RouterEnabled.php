<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router may connect again. */
final class RouterEnabled implements GatewayEvent
{
    use IsGatewayEvent;
}
