<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Console;

use Illuminate\Console\Command;
use Illuminate\Support\Facades\DB;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Status;
use Sallyport\Laravel\Enums\DatabaseMode;
use Sallyport\Laravel\Exceptions\AuthenticationException;
use Sallyport\Laravel\Exceptions\AuthorizationException;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\SallyportException;
use Throwable;

final class DoctorCommand extends Command
{
    protected $signature = 'sallyport:doctor {--json : for programs}';

    protected $description = 'Check this application\'s way to the gateway, and say how to mend what is wrong';

    /** @var list<Finding> */
    private array $findings = [];

    public function handle(): int
    {
        $this->findings = [];
        if ($this->checkWay()) {
            $status = $this->checkGateway();
            if ($status !== null) {
                $this->checkVariables($status);
                $this->checkTables($status);
            }
        }
        $this->checkEvents();
        $this->report();
        $faults = array_filter(
            $this->findings,
            static fn (Finding $finding): bool => $finding->level === Finding::FAULT,
        );

        return $faults === [] ? 0 : 1;
    }

    /** What can be seen without asking the gateway. */
    private function checkWay(): bool
    {
        $url = (string) config('sallyport.url');
        if ($url !== '') {
            $host = (string) parse_url($url, PHP_URL_HOST);
            if (!str_starts_with($url, 'https://') && !in_array($host, ['localhost', '127.0.0.1', '[::1]'], true)) {
                $this->findings[] = Finding::warning(
                    "SALLYPORT_URL is {$url}: the token crosses the network in clear.",
                    'Give sallyportd a certificate (tls_cert, tls_key) and use https, or mount its socket.',
                );
            }
            if ((string) config('sallyport.token') === '') {
                $this->findings[] = Finding::fault(
                    'SALLYPORT_URL is set, SALLYPORT_TOKEN is not.',
                    'On the gateway: sallyport token add laravel --scope admin',
                );

                return false;
            }

            return true;
        }
        $socket = (string) config('sallyport.socket');
        if (!file_exists($socket)) {
            $this->findings[] = Finding::fault(
                "There is no socket {$socket}.",
                'Mount its folder here (volumes: /run/sallyport:/run/sallyport), or set SALLYPORT_SOCKET.',
            );

            return false;
        }
        if (!is_writable($socket)) {
            $group = (string) filegroup($socket);
            $this->findings[] = Finding::fault(
                "This user may not open {$socket}; it belongs to group {$group}.",
                "Add that group to the container's process (group_add: [\"{$group}\"]).",
            );

            return false;
        }

        return true;
    }

    private function checkGateway(): ?Status
    {
        try {
            $sallyport = $this->laravel->make(Client::class);
            $health = $sallyport->health();
            $this->findings[] = match (true) {
                $health->isOk() => Finding::good("The gateway answers: Sallyport {$health->version}."),
                $health->isDegraded() => Finding::warning(
                    'The gateway\'s database is away: tunnels work, changes have to wait.',
                    'Look after PostgreSQL; on the gateway: sallyport doctor',
                ),
                default => Finding::fault(
                    "The gateway answers, but its store is {$health->store} and its data plane {$health->backend}.",
                    'On the gateway: sallyport doctor',
                ),
            };
            $status = $sallyport->status();
        } catch (ConnectionException $error) {
            $this->findings[] = Finding::fault($error->getMessage(), 'On the gateway: systemctl status sallyportd');

            return null;
        } catch (AuthenticationException $error) {
            $this->findings[] = Finding::fault(
                $error->getMessage(),
                'On the gateway: sallyport token add laravel --scope admin',
            );

            return null;
        } catch (AuthorizationException) {
            $this->findings[] = Finding::warning(
                'The token is one tenant\'s: it may work with that tenant\'s routers only, and sees no status.',
                'If this application manages all tenants, give it a token of scope admin.',
            );

            return null;
        } catch (Throwable $error) {
            $this->findings[] = Finding::fault(
                $error->getMessage(),
                'Check SALLYPORT_SOCKET, SALLYPORT_URL and SALLYPORT_TOKEN.',
            );

            return null;
        }
        $this->findings[] = $status->isInSync()
            ? Finding::good(
                "The data plane \"{$status->backend->name}\" is up and in sync: " .
                    "{$status->counts->tenants} tenants, {$status->counts->routers} routers.",
            )
            : Finding::fault(
                'The data plane does not hold what the database says: ' .
                    ($status->reconcile->trouble ?? $status->reconcile->state),
                'On the gateway: sallyport doctor',
            );

        return $status;
    }

    /** The variables of the compose file, against what the gateway took from them. */
    private function checkVariables(Status $status): void
    {
        $pairs = [
            'VPN_INTERFACE' => [config('sallyport.vpn.interface'), $status->backend->interface],
            'VPN_SERVER_IP' => [config('sallyport.vpn.server_ip'), $status->gateway->endpoint],
            'VPN_SERVER_PORT' => [config('sallyport.vpn.server_port'), $status->gateway->port],
        ];
        foreach ($pairs as $name => [$here, $there]) {
            if (!in_array((string) $here, ['', (string) $there], true)) {
                $this->findings[] = Finding::warning(
                    "{$name} is {$here} here, and {$there} at the gateway, which is what counts.",
                    'Give both the same environment.',
                );
            }
        }
    }

    private function checkTables(Status $status): void
    {
        $mode = DatabaseMode::tryFrom((string) config('sallyport.database.mode'));
        if ($mode === DatabaseMode::None) {
            return;
        }
        if ($mode === null) {
            $this->findings[] = Finding::fault(
                'SALLYPORT_DATABASE is "' . config('sallyport.database.mode') . '".',
                'It must be shared, mirror or none.',
            );

            return;
        }
        try {
            $db = DB::connection(config('sallyport.database.connection'));
            $missing = array_filter(
                ['tenant_vpn_tunnels', 'vpn_configurations', ...$mode === DatabaseMode::Shared ? ['vpn_revision'] : []],
                static fn (string $table): bool => !$db->getSchemaBuilder()->hasTable($table),
            );
            if ($missing !== []) {
                $this->findings[] = Finding::fault(
                    "The database \"{$db->getName()}\" has no table " . implode(', ', $missing) . '.',
                    $mode === DatabaseMode::Shared
                        ? "Set SALLYPORT_DB_CONNECTION to the gateway's database, or SALLYPORT_DATABASE to mirror."
                        : 'php artisan vendor:publish --tag=sallyport-migrations && php artisan migrate && ' .
                            'php artisan sallyport:sync',
                );

                return;
            }
            $mode === DatabaseMode::Shared
                ? $this->checkShared((int) $db->table('vpn_revision')->value('value'), $status)
                : $this->checkMirror(
                    $db->table('tenant_vpn_tunnels')->count(),
                    $db->table('vpn_configurations')->count(),
                    $status,
                );
        } catch (SallyportException $error) {
            throw $error;
        } catch (Throwable $error) {
            $this->findings[] = Finding::fault(
                "The database cannot be read: {$error->getMessage()}",
                'Check SALLYPORT_DB_CONNECTION.',
            );
        }
    }

    private function checkShared(int $revision, Status $status): void
    {
        // changes may have happened since the status was read
        $this->findings[] =
            $revision >= $status->store->revision
                ? Finding::good("The tables are the gateway's own, at revision {$revision}.")
                : Finding::fault(
                    "The tables are at revision {$revision}, the gateway is at {$status->store->revision}.",
                    "This is another database than the gateway's, or a replica that lags: set SALLYPORT_DB_CONNECTION.",
                );
    }

    private function checkMirror(int $tenants, int $routers, Status $status): void
    {
        $this->findings[] = [$tenants, $routers] === [$status->counts->tenants, $status->counts->routers]
            ? Finding::good("The copies have all {$tenants} tenants and {$routers} routers.")
            : Finding::warning(
                "The copies have {$tenants} tenants and {$routers} routers, " .
                    "the gateway {$status->counts->tenants} and {$status->counts->routers}.",
                'php artisan sallyport:sync, and keep sallyport:listen running',
            );
    }

    private function checkEvents(): void
    {
        $store = config('sallyport.events.store') ?? config('cache.default');
        $driver = config("cache.stores.{$store}.driver");
        if (in_array($driver, ['array', 'null', null], true)) {
            $this->findings[] = Finding::warning(
                "The cache store \"{$store}\" forgets, and so does sallyport:listen where it was.",
                'Set SALLYPORT_EVENTS_STORE to a store that lasts: file, database or redis.',
            );
        }
    }

    private function report(): void
    {
        if ($this->option('json')) {
            $this->line((string) json_encode(array_map('get_object_vars', $this->findings), JSON_UNESCAPED_SLASHES));

            return;
        }
        $marks = [
            Finding::GOOD => '<info>ok</info>     ',
            Finding::WARNING => '<comment>warning</comment>',
            Finding::FAULT => '<error>fault</error>  ',
        ];
        foreach ($this->findings as $finding) {
            $this->line("{$marks[$finding->level]}  {$finding->what}");
            if ($finding->mend !== null) {
                $this->line("         {$finding->mend}");
            }
        }
    }
}
