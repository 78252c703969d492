<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A router connected for the first time. */
final class RouterActivated implements GatewayEvent
{
    use IsGatewayEvent;
}
