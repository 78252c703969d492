<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Contracts\Queue\ShouldBeUnique;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Exceptions\NotFoundException;

/** Removes a tenant with its routers, for good. */
final class RemoveTunnel extends SallyportJob implements ShouldBeUnique
{
    public function __construct(public readonly string $tenantId)
    {
        parent::__construct();
    }

    public function uniqueId(): string
    {
        return $this->tenantId;
    }

    public function handle(Client $sallyport, Tables $tables): void
    {
        $this->attempt(function () use ($sallyport, $tables): void {
            try {
                $sallyport->tenants()->delete($this->tenantId);
            } catch (NotFoundException) {
                // what is gone need not be removed
            }
            $tables->forgetTunnel($this->tenantId);
        });
    }
}
