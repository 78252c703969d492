<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router is gone. */
final class RouterDeleted implements GatewayEvent
{
    use IsGatewayEvent;
}
