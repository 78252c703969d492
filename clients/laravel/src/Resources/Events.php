<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Resources;

use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Event;
use Sallyport\Laravel\Data\EventPage;

final class Events
{
    public function __construct(private readonly Client $client)
    {
    }

    /** @param  int  $wait  seconds to wait for a change if there is none yet, up to 30 */
    public function after(int $revision, int $limit = 100, int $wait = 0): EventPage
    {
        $page = $this->client->get(
            '/v1/events',
            ['after' => $revision, 'limit' => $limit, 'wait' => $wait],
            timeout: (float) $wait,
        );

        return new EventPage(
            array_map(static fn (array $item): Event => new Event($item), $page['items']),
            $page['next_after'],
            $page['oldest'],
            $page['newest'],
        );
    }

    /** The revision of the last change: whoever starts here sees only what happens from now on. */
    public function latest(): int
    {
        return $this->after(0, 1)->newest;
    }
}
