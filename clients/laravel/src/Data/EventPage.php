<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

final class EventPage
{
    /** @param  list<Event>  $events */
    public function __construct(
        public readonly array $events,
        /** Give it as $after to go on from here. */
        public readonly int $nextAfter,
    ) {
    }
}
