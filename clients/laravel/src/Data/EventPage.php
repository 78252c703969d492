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
        /** The oldest change that is kept: who asked with an $after below the one before it has missed some. */
        public readonly int $oldest,
        /** The last change. Below $after: the gateway's database was put back to an earlier state. */
        public readonly int $newest,
    ) {
    }
}
