<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A tenant was made. */
final class TenantCreated implements GatewayEvent
{
    use IsGatewayEvent;
}
