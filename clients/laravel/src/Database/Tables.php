<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Database;

use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;

/** Brings the models in line with what the gateway just said. */
interface Tables
{
    public function tunnel(Tenant $tenant, ?TenantVpnTunnel $into = null): TenantVpnTunnel;

    public function configuration(Router $router, ?VpnConfiguration $into = null): VpnConfiguration;

    /** The tenant is gone, and its routers with it. */
    public function forgetTunnel(string $tenantId): void;

    public function forgetConfiguration(string $routerId): void;
}
