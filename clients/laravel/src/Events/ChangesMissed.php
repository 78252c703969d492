<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

/**
 * sallyport:listen stayed away for longer than the gateway keeps changes: those between the two revisions were not
 * dispatched. Or the gateway's database was put back from a backup: then $before is the smaller one, and what had been
 * dispatched beyond it is undone. Copies in a mirror have been taken anew.
 */
final class ChangesMissed
{
    public function __construct(public readonly int $after, public readonly int $before)
    {
    }
}
