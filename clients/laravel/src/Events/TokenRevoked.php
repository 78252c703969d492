<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A token is no longer valid. */
final class TokenRevoked implements GatewayEvent
{
    use IsGatewayEvent;
}
