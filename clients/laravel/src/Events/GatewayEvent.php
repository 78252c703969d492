<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

use Sallyport\Laravel\Data\Event;

/**
 * A change at the gateway, whoever made it, as sallyport:listen dispatches it. Listen to this interface for all of
 * them, or to one of the classes. Each arrives at least once, in the order of revisions.
 */
interface GatewayEvent
{
    public function event(): Event;
}
