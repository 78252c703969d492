<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router that had connected before began a session with a gateway. */
final class RouterConnected implements GatewayEvent
{
    use IsGatewayEvent;
}
