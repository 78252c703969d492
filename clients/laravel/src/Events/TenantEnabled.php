<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** Its routers may connect again. */
final class TenantEnabled implements GatewayEvent
{
    use IsGatewayEvent;
}
