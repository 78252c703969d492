<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router has new keys. */
final class RouterRotated implements GatewayEvent
{
    use IsGatewayEvent;
}
