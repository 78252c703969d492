<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\Tables;

/** Lets a router connect again. */
final class EnableRouterPeer extends SallyportJob
{
    public function __construct(public readonly string $routerId)
    {
        parent::__construct();
    }

    public function handle(Client $sallyport, Tables $tables): void
    {
        $this->attemptUnlessOvertaken("status.{$this->routerId}", function () use ($sallyport, $tables): void {
            $tables->configuration($sallyport->routers()->enable($this->routerId));
        });
    }
}
