<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Database;

use Illuminate\Database\ConnectionInterface;
use Illuminate\Support\Facades\DB;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;

/**
 * The tables are copies in a database of this application's own. Each change that goes through the service is written
 * here too; sallyport:listen follows the changes of others, and sallyport:sync takes everything anew.
 */
final class MirroredTables implements Tables
{
    use MakesModels;

    private readonly Rows $rows;

    public function __construct(private readonly Client $client, private readonly DetachedTables $detached)
    {
        $this->rows = new Rows($client);
    }

    public function tunnel(Tenant $tenant, ?TenantVpnTunnel $into = null): TenantVpnTunnel
    {
        $model = $into ?? $this->newTunnel();
        if (!$this->exists($model->getTable())) {
            return $this->detached->tunnel($tenant, $model);
        }
        $this->putTunnels([$tenant]);
        $row = $this->db()->table($model->getTable())->useWritePdo()->where('tenant_id', $tenant->id)->first();

        return $model->takeOver((array) $row, $this->db()->getName());
    }

    public function configuration(Router $router, ?VpnConfiguration $into = null): VpnConfiguration
    {
        $model = $into ?? $this->newConfiguration();
        if (!$this->exists($model->getTable())) {
            return $this->detached->configuration($router, $model);
        }
        $this->putConfigurations([$router]);
        $row = $this->db()->table($model->getTable())->useWritePdo()->where('router_id', $router->id)->first();

        return $model->takeOver((array) $row, $this->db()->getName());
    }

    public function forgetTunnel(string $tenantId): void
    {
        $tunnel = $this->newTunnel()->getTable();
        if (!$this->exists($tunnel)) {
            return;
        }
        $this->db()->transaction(function () use ($tenantId, $tunnel): void {
            $this->db()
                ->table($this->newConfiguration()->getTable())
                ->where('tenant_id', $tenantId)
                ->delete();
            $this->db()->table($tunnel)->where('tenant_id', $tenantId)->delete();
        });
    }

    public function forgetConfiguration(string $routerId): void
    {
        $table = $this->newConfiguration()->getTable();
        if ($this->exists($table)) {
            $this->db()->table($table)->where('router_id', $routerId)->delete();
        }
    }

    /** @param  list<Tenant>  $tenants */
    public function putTunnels(array $tenants): void
    {
        $rows = array_map($this->rows->ofTenant(...), $tenants);
        if ($rows !== []) {
            $this->db()
                ->table($this->newTunnel()->getTable())
                ->upsert($rows, ['tenant_id'], array_diff(array_keys($rows[0]), ['tenant_id', 'created_at']));
        }
    }

    /** Those whose tenant is not here are left out: it is gone, or comes with a later event. @param  list<Router>  $routers */
    public function putConfigurations(array $routers): void
    {
        $tenantIds = array_values(
            array_unique(array_map(static fn (Router $router): string => $router->tenantId, $routers)),
        );
        $known = $this->tunnelIds($tenantIds);
        foreach (array_diff($tenantIds, array_keys($known)) as $missing) {
            $tenant = $this->client->tenants()->find($missing);
            if ($tenant !== null) {
                $this->putTunnels([$tenant]);
            }
        }
        $known = $this->tunnelIds($tenantIds);
        $rows = [];
        foreach ($routers as $router) {
            if (isset($known[$router->tenantId])) {
                $rows[] = ['tenant_vpn_tunnel_id' => $known[$router->tenantId]] + $this->rows->ofRouter($router);
            }
        }
        if ($rows !== []) {
            $this->db()
                ->table($this->newConfiguration()->getTable())
                ->upsert($rows, ['router_id'], array_diff(array_keys($rows[0]), ['router_id', 'created_at']));
        }
    }

    public function db(): ConnectionInterface
    {
        return DB::connection(config('sallyport.database.connection'));
    }

    public function exists(string $table): bool
    {
        return $this->db()->getSchemaBuilder()->hasTable($table);
    }

    /**
     * @param  list<string>  $tenantIds
     * @return array<string, int>
     */
    private function tunnelIds(array $tenantIds): array
    {
        return $this->db()
            ->table($this->newTunnel()->getTable())
            ->useWritePdo()
            ->whereIn('tenant_id', $tenantIds)
            ->pluck('id', 'tenant_id')
            ->all();
    }
}
