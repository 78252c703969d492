<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Support\Str;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Database\Tables;

/** Makes a tenant. */
final class CreateTunnel extends SallyportJob implements ShouldBeUnique
{
    public readonly string $idempotencyKey;

    public function __construct(public readonly NewTenant $tenant, ?string $idempotencyKey = null)
    {
        parent::__construct();
        $this->idempotencyKey = $idempotencyKey ?? (string) Str::uuid();
    }

    /** Of the whole wish: two tenants may have one name. */
    public function uniqueId(): string
    {
        return hash('sha256', serialize($this->tenant->toArray()));
    }

    public function handle(Client $sallyport, Tables $tables): void
    {
        $this->attempt(function () use ($sallyport, $tables): void {
            $tables->tunnel($sallyport->tenants()->create($this->tenant, $this->idempotencyKey));
        });
    }
}
