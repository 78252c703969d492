<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router cannot connect. */
final class RouterDisabled implements GatewayEvent
{
    use IsGatewayEvent;
}
