<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

use Sallyport\Laravel\Data\Event;

trait IsGatewayEvent
{
    final public function __construct(public readonly Event $event)
    {
    }

    public function event(): Event
    {
        return $this->event;
    }
}
