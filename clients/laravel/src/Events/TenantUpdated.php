<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/** Its name, limits or egress changed. */
final class TenantUpdated implements GatewayEvent
{
    use IsGatewayEvent;
}
