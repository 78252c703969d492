<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Contracts\Queue\ShouldBeUnique;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Exceptions\NotFoundException;

/** Ends a router for good. */
final class RemoveRouterPeer extends SallyportJob implements ShouldBeUnique
{
    public function __construct(public readonly string $routerId)
    {
        parent::__construct();
    }

    public function uniqueId(): string
    {
        return $this->routerId;
    }

    public function handle(Client $sallyport, Tables $tables): void
    {
        $this->attempt(function () use ($sallyport, $tables): void {
            try {
                $sallyport->routers()->delete($this->routerId);
            } catch (NotFoundException) {
                // what is gone need not be removed
            }
            $tables->forgetConfiguration($this->routerId);
        });
    }
}
