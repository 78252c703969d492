<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\Tables;

/** Takes a router's session away; it cannot connect until it is enabled. */
final class DisableRouterPeer extends SallyportJob
{
    public function __construct(public readonly string $routerId)
    {
        parent::__construct();
    }

    public function handle(Client $sallyport, Tables $tables): void
    {
        $this->attemptUnlessOvertaken("status.{$this->routerId}", function () use ($sallyport, $tables): void {
            $tables->configuration($sallyport->routers()->disable($this->routerId));
        });
    }
}
