<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Database;

use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;

trait MakesModels
{
    private function newTunnel(): TenantVpnTunnel
    {
        $class = config('sallyport.models.tunnel', TenantVpnTunnel::class);

        return new $class();
    }

    private function newConfiguration(): VpnConfiguration
    {
        $class = config('sallyport.models.configuration', VpnConfiguration::class);

        return new $class();
    }
}
