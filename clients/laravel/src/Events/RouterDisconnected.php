<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router's session ended, or was silent for too long. */
final class RouterDisconnected implements GatewayEvent
{
    use IsGatewayEvent;
}
