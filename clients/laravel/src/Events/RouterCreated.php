<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router was made. */
final class RouterCreated implements GatewayEvent
{
    use IsGatewayEvent;
}
