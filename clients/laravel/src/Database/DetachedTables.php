<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Database;

use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;

/** There are no tables here: the models only carry what the API told. */
final class DetachedTables implements Tables
{
    use MakesModels;

    private readonly Rows $rows;

    public function __construct(Client $client)
    {
        $this->rows = new Rows($client);
    }

    public function tunnel(Tenant $tenant, ?TenantVpnTunnel $into = null): TenantVpnTunnel
    {
        return ($into ?? $this->newTunnel())->takeOver($this->rows->ofTenant($tenant));
    }

    public function configuration(Router $router, ?VpnConfiguration $into = null): VpnConfiguration
    {
        return ($into ?? $this->newConfiguration())->takeOver($this->rows->ofRouter($router));
    }

    public function forgetTunnel(string $tenantId): void
    {
    }

    public function forgetConfiguration(string $routerId): void
    {
    }
}
