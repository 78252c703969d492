<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** None of its routers can connect. */
final class TenantDisabled implements GatewayEvent
{
    use IsGatewayEvent;
}
