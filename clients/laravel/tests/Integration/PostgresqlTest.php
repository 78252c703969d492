<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Integration;

use Illuminate\Database\QueryException;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Str;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Events\RouterActivated;
use Sallyport\Laravel\Models\VpnConfiguration;
use Sallyport\Laravel\TenantVpnTunnelService;

final class PostgresqlTest extends SharedDatabaseTests
{
    protected function connection(): array
    {
        return [
            'driver' => 'pgsql',
            'host' => self::given('PG_HOST'),
            'database' => self::given('PG_DATABASE'),
            'username' => self::given('PG_USER'),
            'password' => '',
            'charset' => 'utf8',
            'prefix' => '',
            'schema' => 'public',
            'search_path' => 'public',
            'timezone' => 'Europe/Amsterdam',
        ];
    }

    public function test_a_router_that_dialled_in(): void
    {
        $configuration = VpnConfiguration::where('router_id', self::given('CONNECTED_ROUTER'))->sole();
        self::assertSame(RouterStatus::Active, $configuration->status);
        self::assertTrue($configuration->isConnected());
        self::assertEqualsWithDelta(time(), $configuration->last_handshake_at->getTimestamp(), 180);
        self::assertNotNull($configuration->connected_since);
        self::assertContains($configuration->id, VpnConfiguration::connected()->pluck('id')->all());
        self::assertTrue(self::eventually(
            static fn (): bool => $configuration->tenantVpnTunnel()->sole()->connected_peers === 1,
        ));
        $router = $this->app->make(TenantVpnTunnelService::class)->status($configuration);
        self::assertTrue($router->connected);
        self::assertNotNull($router->gateway);
        self::assertStringStartsWith('198.51.100.', (string) $router->endpoint);
        self::assertGreaterThan(0, $router->bytesReceived);
        $seen = [];
        Event::listen(static function (RouterActivated $event) use (&$seen): void {
            $seen[] = $event->event->routerId;
        });
        $this->artisan('sallyport:listen', ['--once' => true, '--from' => 'start']);
        self::assertContains($router->id, $seen);
    }

    public function test_a_role_that_may_only_read_is_all_that_the_application_needs(): void
    {
        $tables = 'tenant_vpn_tunnels, vpn_configurations, vpn_revision';
        DB::connection('gateway')->unprepared("CREATE ROLE reader LOGIN; GRANT SELECT ON {$tables} TO reader");
        try {
            config(['database.connections.reader' => ['username' => 'reader'] + $this->connection()]);
            config(['sallyport.database.connection' => 'reader']);
            $service = $this->app->make(TenantVpnTunnelService::class);
            $tunnel = $service->createTunnel((string) Str::uuid(), 'Reader');
            $made = $service->addRouterPeer($tunnel, $configuration = new VpnConfiguration(['name' => 'Utrecht']));
            self::assertSame($made->router->publicKey, $configuration->fresh()->client_public_key);
            self::assertSame(0, $this->artisan('sallyport:doctor'), $this->output());
            $service->removeTunnel($tunnel);
            $this->expectException(QueryException::class);
            DB::connection('reader')->table('vpn_configurations')->update(['status' => 'disabled']);
        } finally {
            DB::purge('reader');
            DB::connection('gateway')->unprepared("REVOKE SELECT ON {$tables} FROM reader; DROP ROLE reader");
        }
    }

    public function test_it_is_postgresql(): void
    {
        self::assertSame('postgresql', $this->sallyport()->status()->store->kind);
        self::assertStringContainsString(
            'PostgreSQL',
            DB::connection('gateway')->selectOne('SELECT version()')->version,
        );
    }
}
