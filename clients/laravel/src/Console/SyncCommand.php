<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Console;

use Illuminate\Console\Command;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\LazyCollection;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\MirroredTables;
use Sallyport\Laravel\Enums\DatabaseMode;
use Sallyport\Laravel\Exceptions\SallyportException;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;

final class SyncCommand extends Command
{
    protected $signature = 'sallyport:sync
        {--dry-run : only say what would be removed here}';

    protected $description = 'Bring the tables in this application\'s database in line with the gateway';

    public function handle(Client $sallyport, MirroredTables $mirror, EventPosition $position): int
    {
        try {
            return match (DatabaseMode::from((string) config('sallyport.database.mode'))) {
                DatabaseMode::Shared => $this->compare($sallyport),
                DatabaseMode::Mirror => $this->copy($sallyport, $mirror, $position),
                DatabaseMode::None => $this->nothing(),
            };
        } catch (SallyportException $error) {
            $this->error($error->getMessage());

            return 1;
        }
    }

    private function nothing(): int
    {
        $this->info('SALLYPORT_DATABASE is "none": there are no tables to bring in line.');

        return 0;
    }

    /** The gateway writes the tables itself: all there is to see is that they are the ones. */
    private function compare(Client $sallyport): int
    {
        $db = DB::connection(config('sallyport.database.connection'));
        $before = $sallyport->status();
        if (!$db->getSchemaBuilder()->hasTable('vpn_revision')) {
            $this->error(
                "The database \"{$db->getName()}\" is not the gateway's: it has no table vpn_revision. " .
                    'Set SALLYPORT_DB_CONNECTION, or SALLYPORT_DATABASE to mirror.',
            );

            return 1;
        }
        $revision = (int) $db->table('vpn_revision')->useWritePdo()->value('value');
        $after = $sallyport->status();
        if ($revision < $before->store->revision || $revision > $after->store->revision) {
            $this->error(
                "The database \"{$db->getName()}\" is at revision {$revision}, the gateway at " .
                    "{$after->store->revision}: this is not the gateway's database, or it is a replica that lags.",
            );

            return 1;
        }
        $this->info(
            "The tables are the gateway's own, at revision {$revision}: {$after->counts->tenants} tenants, " .
                "{$after->counts->routers} routers.",
        );

        return 0;
    }

    private function copy(Client $sallyport, MirroredTables $mirror, EventPosition $position): int
    {
        $tunnels = (new TenantVpnTunnel())->getTable();
        $configurations = (new VpnConfiguration())->getTable();
        if (!$mirror->exists($tunnels) || !$mirror->exists($configurations)) {
            $this->error(
                'The tables are missing: run "php artisan vendor:publish --tag=sallyport-migrations" ' .
                    'and "php artisan migrate".',
            );

            return 1;
        }
        // what happens from here on, sallyport:listen will see
        $revision = $sallyport->events()->latest();
        $write = !$this->option('dry-run');
        $tenantIds = $this->each($sallyport->tenants()->all(), $write ? $mirror->putTunnels(...) : null);
        $routerIds = $this->each($sallyport->routers()->all(), $write ? $mirror->putConfigurations(...) : null);
        $gone = [
            $this->leftOver(
                $mirror,
                $configurations,
                'router_id',
                $routerIds,
                static fn (string $id): bool => $sallyport->routers()->find($id) === null,
            ),
            $this->leftOver(
                $mirror,
                $tunnels,
                'tenant_id',
                $tenantIds,
                static fn (string $id): bool => $sallyport->tenants()->find($id) === null,
            ),
        ];
        if ($write) {
            array_map($mirror->forgetConfiguration(...), $gone[0]);
            array_map($mirror->forgetTunnel(...), $gone[1]);
            $position->put($revision);
        }
        $this->info(
            sprintf(
                '%d tenants and %d routers %s, %d tenants and %d routers that are gone %s.',
                count($tenantIds),
                count($routerIds),
                $write ? 'taken over' : 'at the gateway',
                count($gone[1]),
                count($gone[0]),
                $write ? 'removed' : 'would be removed',
            ),
        );

        return 0;
    }

    /**
     * Hands the items on in batches.
     *
     * @return array<string, true>  their ids, 16 bytes each: there may be a million
     */
    private function each(LazyCollection $items, ?callable $put): array
    {
        $seen = [];
        foreach ($items->chunk(500) as $chunk) {
            if ($put !== null) {
                $put($chunk->values()->all());
            }
            foreach ($chunk as $item) {
                $seen[self::bytes($item->id)] = true;
            }
        }

        return $seen;
    }

    /**
     * Rows whose id was not among those seen, and that the gateway does not know when asked once more: a row may be
     * newer than the page it would have been on.
     *
     * @param  array<string, true>  $seen
     * @return list<string>
     */
    private function leftOver(MirroredTables $mirror, string $table, string $column, array $seen, callable $gone): array
    {
        return $mirror
            ->db()
            ->table($table)
            ->select(['id', $column])
            ->lazyById(1000)
            ->map(static fn (object $row): string => $row->{$column})
            ->filter(static fn (string $id): bool => !isset($seen[self::bytes($id)]) && $gone($id))
            ->values()
            ->all();
    }

    private static function bytes(string $uuid): string
    {
        return (string) hex2bin(str_replace('-', '', $uuid));
    }
}
