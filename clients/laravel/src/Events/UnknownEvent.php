<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A kind of change that this version of the package has no name for. */
final class UnknownEvent implements GatewayEvent
{
    use IsGatewayEvent;
}
