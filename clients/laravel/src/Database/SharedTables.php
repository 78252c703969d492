<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Database;

use Illuminate\Database\Eloquent\Model;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Exceptions\DatabaseMismatchException;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;

/**
 * The gateway keeps its tables in this application's database. What it acknowledged is committed, so the row is there;
 * it is read from where writes go, as a replica may lag.
 */
final class SharedTables implements Tables
{
    use MakesModels;

    public function tunnel(Tenant $tenant, ?TenantVpnTunnel $into = null): TenantVpnTunnel
    {
        return $this->reload($into ?? $this->newTunnel(), 'tenant_id', $tenant->id);
    }

    public function configuration(Router $router, ?VpnConfiguration $into = null): VpnConfiguration
    {
        return $this->reload($into ?? $this->newConfiguration(), 'router_id', $router->id);
    }

    public function forgetTunnel(string $tenantId): void
    {
    }

    public function forgetConfiguration(string $routerId): void
    {
    }

    /**
     * @template TModel of TenantVpnTunnel|VpnConfiguration
     *
     * @param  TModel  $model
     * @return TModel
     */
    private function reload(Model $model, string $column, string $id): Model
    {
        $row = $model->newQuery()->toBase()->useWritePdo()->where($column, $id)->first();
        if ($row === null) {
            throw new DatabaseMismatchException($model->getTable(), $column, $id);
        }

        return $model->takeOver((array) $row, $model->getConnection()->getName());
    }
}
