<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A token was made. */
final class TokenCreated implements GatewayEvent
{
    use IsGatewayEvent;
}
