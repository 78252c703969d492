<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** A tenant and its routers are gone. */
final class TenantDeleted implements GatewayEvent
{
    use IsGatewayEvent;
}
