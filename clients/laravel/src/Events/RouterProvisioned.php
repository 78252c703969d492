<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

use Sallyport\Laravel\Data\ProvisionedRouter;

/**
 * A job of this application made a router, or gave one new keys: the moment to hand its configuration to the device.
 * The listener must not be queued, since the private key refuses to be stored. If it throws, the job is tried again
 * and gets the same answer, with the same keys.
 */
final class RouterProvisioned
{
    public function __construct(
        public readonly ProvisionedRouter $provisioned,
        public readonly bool $rotated = false,
    ) {
    }
}
