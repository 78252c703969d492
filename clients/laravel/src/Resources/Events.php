<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Resources;

use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Event;
use Sallyport\Laravel\Data\EventPage;
use Sallyport\Laravel\Exceptions\AuthorizationException;

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
        );
    }

    /** The revision of the last change: whoever starts here sees only what happens from now on. */
    public function latest(): int
    {
        try {
            return $this->client->status()->store->revision;
        } catch (AuthorizationException) {
            // a tenant's token may not see the status, but may walk its own events
            for ($at = 0;; $at = $page->nextAfter) {
                $page = $this->after($at, 1000);
                if ($page->events === []) {
                    return $page->nextAfter;
                }
            }
        }
    }
}
