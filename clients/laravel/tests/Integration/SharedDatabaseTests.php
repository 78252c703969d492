<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Integration;

use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Str;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Enums\TenantStatus;
use Sallyport\Laravel\Events\GatewayEvent;
use Sallyport\Laravel\Events\RouterProvisioned;
use Sallyport\Laravel\Exceptions\ReadOnlyException;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Jobs\AddRouterPeer;
use Sallyport\Laravel\Jobs\CreateTunnel;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;
use Sallyport\Laravel\TenantVpnTunnelService;

/** A Laravel application and a gateway on one database: Eloquent sees what the gateway wrote. */
abstract class SharedDatabaseTests extends IntegrationTestCase
{
    private TenantVpnTunnelService $service;
    private TenantVpnTunnel $tunnel;

    /** @return array<string, mixed>  of config('database.connections') */
    abstract protected function connection(): array;

    protected function setUp(): void
    {
        parent::setUp();
        config(['database.connections.gateway' => $this->connection(), 'sallyport.database.connection' => 'gateway']);
        $this->service = $this->app->make(TenantVpnTunnelService::class);
        $this->tunnel = $this->service->createTunnel((string) Str::uuid(), 'Acme', Addressing::Private);
    }

    protected function tearDown(): void
    {
        if (isset($this->tunnel)) {
            $this->service->removeTunnel($this->tunnel);
        }
        parent::tearDown();
    }

    public function test_the_row_is_there_when_the_call_returns(): void
    {
        self::assertNotNull($this->tunnel->id);
        $tunnel = TenantVpnTunnel::findOrFail($this->tunnel->id);
        self::assertSame(
            ['Acme', Addressing::Private, TenantStatus::Active, '10.100.0.0/16', false],
            [$tunnel->name, $tunnel->addressing, $tunnel->status, $tunnel->subnet_cidr, $tunnel->egress],
        );
        self::assertEqualsWithDelta(time(), $tunnel->created_at->getTimestamp(), 60);
        self::assertSame($this->sallyport()->status()->gateway->publicKey, $tunnel->server_public_key);
    }

    public function test_a_routers_life_in_the_table(): void
    {
        $configuration = new VpnConfiguration([
            'router_id' => (string) Str::uuid(),
            'client_public_key' => ($key = self::key()),
            'client_ip' => '10.100.7.7/32',
        ]);
        $this->service->addRouterPeer($this->tunnel, $configuration, lans: ['192.168.88.0/24']);
        $row = $this->tunnel->vpnConfigurations()->sole();
        self::assertTrue($row->is($configuration));
        self::assertSame(
            [$key, '10.100.7.7', RouterStatus::Pending, 'vpn.example.com', null, null, 1],
            [
                $row->client_public_key,
                $row->client_ip,
                $row->status,
                $row->server_endpoint,
                $row->client_private_key,
                $row->last_handshake_at,
                $row->lans,
            ],
        );
        self::assertSame($row->hub_address, $this->service->status($row)->hubAddress);
        self::assertSame(1, VpnConfiguration::pending()->where('tenant_id', $this->tunnel->tenant_id)->count());
        self::assertSame(0, VpnConfiguration::connected()->where('tenant_id', $this->tunnel->tenant_id)->count());
        $this->service->disableRouterPeer($configuration);
        self::assertSame(RouterStatus::Disabled, $row->fresh()->status);
        $this->service->addRouterPeer($this->tunnel, $row);
        self::assertSame(RouterStatus::Pending, $row->status);
        $made = $this->service->rotateRouterKeys($row);
        self::assertSame($made->router->publicKey, $row->fresh()->client_public_key);
        self::assertNull($row->fresh()->client_private_key);
        self::assertStringContainsString('[Interface]', $this->service->configurationText($row));
        $this->service->removeRouterPeer($row);
        self::assertSame(0, $this->tunnel->vpnConfigurations()->count());
    }

    public function test_no_private_key_is_in_the_database(): void
    {
        $made = $this->service->addRouterPeer($this->tunnel, new VpnConfiguration(), presharedKey: NewRouter::GENERATE);
        self::assertNotNull($made->privateKey);
        foreach (DB::connection('gateway')->table('vpn_configurations')->get() as $row) {
            foreach ((array) $row as $value) {
                if (is_resource($value)) {
                    $value = stream_get_contents($value);
                }
                self::assertStringNotContainsString($made->privateKey, (string) $value);
                self::assertStringNotContainsString((string) base64_decode($made->privateKey, true), (string) $value);
            }
        }
    }

    public function test_every_column_of_the_gateway_is_guarded(): void
    {
        foreach ([TenantVpnTunnel::class, VpnConfiguration::class] as $class) {
            $columns = DB::connection('gateway')->getSchemaBuilder()->getColumnListing((new $class())->getTable());
            self::assertSame([], array_values(array_diff($columns, array_keys($class::ownedColumns()))));
        }
        $this->expectException(ReadOnlyException::class);
        $this->tunnel->update(['status' => TenantStatus::Disabled]);
    }

    public function test_doctor_and_sync_see_that_it_is_one_database(): void
    {
        self::assertSame(0, $this->artisan('sallyport:doctor'), $this->output());
        self::assertStringContainsString("The tables are the gateway's own", $this->output());
        self::assertSame(0, $this->artisan('sallyport:sync'), $this->output());
    }

    public function test_doctor_and_sync_see_that_it_is_not(): void
    {
        config(['sallyport.database.connection' => 'own']);
        self::assertSame(1, $this->artisan('sallyport:doctor'));
        self::assertSame(1, $this->artisan('sallyport:sync'));
        $this->expectExceptionMessage('another database than the gateway\'s');
        $this->migrateMirror();
        $this->service->enableTunnel(new TenantVpnTunnel(['tenant_id' => $this->tunnel->tenant_id]));
    }

    public function test_jobs_do_it_in_the_queue(): void
    {
        $this->migrateQueue();
        $handed = [];
        Event::listen(static function (RouterProvisioned $event) use (&$handed): void {
            $handed[] = $event->provisioned->config;
        });
        AddRouterPeer::dispatch($this->tunnel->tenant_id, new NewRouter('Utrecht'));
        CreateTunnel::dispatch(new NewTenant('Beta', ($id = (string) Str::uuid())));
        $this->artisan('queue:work', ['--stop-when-empty' => true, '--sleep' => 0]);
        self::assertSame(0, DB::table('failed_jobs')->count());
        self::assertSame('Utrecht', $this->tunnel->vpnConfigurations()->sole()->name);
        self::assertStringContainsString('PrivateKey', $handed[0]);
        $this->service->removeTunnel(TenantVpnTunnel::where('tenant_id', $id)->sole());
    }

    public function test_events_follow(): void
    {
        $this->artisan('sallyport:listen', ['--once' => true]);
        $this->service->addRouterPeer($this->tunnel, $configuration = new VpnConfiguration());
        $this->service->disableRouterPeer($configuration);
        $this->service->removeRouterPeer($configuration);
        $seen = [];
        Event::listen(static function (GatewayEvent $event) use (&$seen, $configuration): void {
            if ($event->event()->routerId === $configuration->router_id) {
                $seen[] = $event->event()->kind;
            }
        });
        $this->artisan('sallyport:listen', ['--once' => true]);
        self::assertSame(['router.created', 'router.disabled', 'router.deleted'], $seen);
        self::assertSame('', $this->output(), 'no change was missed');
    }

    public function test_a_mirror_follows_too(): void
    {
        $this->service->addRouterPeer($this->tunnel, new VpnConfiguration(['name' => 'Utrecht']));
        config(['sallyport.database' => ['mode' => 'mirror', 'connection' => 'own']]);
        $this->migrateMirror();
        self::assertSame(0, $this->artisan('sallyport:sync'), $this->output());
        $copy = TenantVpnTunnel::firstWhere('tenant_id', $this->tunnel->tenant_id);
        self::assertSame('own', $copy->getConnectionName());
        self::assertSame('Utrecht', $copy->vpnConfigurations()->sole()->name);
        $service = $this->app->make(TenantVpnTunnelService::class);
        $service->addRouterPeer($copy, $configuration = new VpnConfiguration(['name' => 'Delft']));
        self::assertSame(['Utrecht', 'Delft'], $copy->vpnConfigurations()->orderBy('id')->pluck('name')->all());
        $this->sallyport()->routers()->update($configuration->router_id, name: 'Leiden');
        $this->sallyport()
            ->routers()
            ->delete($copy->vpnConfigurations()->firstWhere('name', 'Utrecht')->router_id);
        $this->artisan('sallyport:listen', ['--once' => true]);
        self::assertSame(['Leiden'], $copy->vpnConfigurations()->pluck('name')->all());
        self::assertSame(0, $this->artisan('sallyport:doctor'), $this->output());
    }
}
