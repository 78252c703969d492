<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Closure;
use Illuminate\Database\Query\Builder;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Enums\TenantStatus;
use Sallyport\Laravel\Exceptions\ReadOnlyException;
use Sallyport\Laravel\Facades\Sallyport;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;
use Sallyport\Laravel\TenantVpnTunnelService;
use Sallyport\Laravel\Testing\SallyportFake;
use Sallyport\Laravel\Tests\TestCase;

final class ModelsTest extends TestCase
{
    private SallyportFake $fake;
    private TenantVpnTunnelService $service;
    private TenantVpnTunnel $tunnel;
    private VpnConfiguration $configuration;

    protected function setUp(): void
    {
        parent::setUp();
        $this->migrateMirror();
        foreach (['tenant_vpn_tunnels', 'vpn_configurations'] as $table) {
            Schema::table($table, static function (Blueprint $table): void {
                $table->text('notes')->nullable();
                $table->integer('visits')->default(0);
            });
        }
        $this->fake = Sallyport::fake();
        $this->service = $this->app->make(TenantVpnTunnelService::class);
        $this->tunnel = $this->service->createTunnel(
            '0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b',
            'Acme',
            Addressing::Private,
        );
        $this->configuration = new VpnConfiguration(['name' => 'Utrecht']);
        $this->service->addRouterPeer($this->tunnel, $this->configuration);
    }

    public function test_columns_have_types(): void
    {
        $tunnel = TenantVpnTunnel::firstWhere('name', 'Acme');
        self::assertSame(
            [Addressing::Private, TenantStatus::Active, false],
            [$tunnel->addressing, $tunnel->status, $tunnel->egress],
        );
        self::assertSame('10.100.0.0/16', $tunnel->subnet_cidr);
        $configuration = VpnConfiguration::firstWhere('name', 'Utrecht');
        self::assertSame(
            [RouterStatus::Pending, 51820, null],
            [$configuration->status, $configuration->server_port, $configuration->last_handshake_at],
        );
        self::assertSame(0, $configuration->created_at->offset);
    }

    public function test_relations_lead_both_ways(): void
    {
        self::assertSame('Utrecht', $this->tunnel->vpnConfigurations()->sole()->name);
        self::assertSame('Acme', $this->configuration->tenantVpnTunnel->name);
        self::assertSame(1, TenantVpnTunnel::withCount('vpnConfigurations')->sole()->vpn_configurations_count);
        self::assertCount(
            1,
            TenantVpnTunnel::whereHas(
                'vpnConfigurations',
                static fn ($query) => $query->where('name', 'Utrecht'),
            )->get(),
        );
    }

    public function test_scopes(): void
    {
        self::assertSame(
            [1, 0, 0],
            [
                VpnConfiguration::pending()->count(),
                VpnConfiguration::active()->count(),
                VpnConfiguration::connected()->count(),
            ],
        );
        $this->fake->connect($this->configuration->router_id);
        $this->service->enableRouterPeer($this->configuration);
        self::assertSame(
            [0, 1, 1],
            [
                VpnConfiguration::pending()->count(),
                VpnConfiguration::active()->count(),
                VpnConfiguration::connected()->count(),
            ],
        );
        self::assertTrue($this->configuration->isConnected());
        self::assertSame(1, TenantVpnTunnel::active()->count());
    }

    public function test_columns_of_ones_own_are_written_as_ever(): void
    {
        $this->configuration->update(['notes' => 'behind the door']);
        $this->configuration->increment('visits');
        VpnConfiguration::query()->update(['notes' => 'above the door']);
        self::assertSame(
            ['above the door', 1],
            [$this->configuration->fresh()->notes, (int) $this->configuration->fresh()->visits],
        );
    }

    public function test_every_column_of_the_gateway_is_guarded(): void
    {
        foreach ([TenantVpnTunnel::class, VpnConfiguration::class] as $class) {
            $columns = array_diff(Schema::getColumnListing((new $class())->getTable()), ['notes', 'visits']);
            self::assertSame([], array_values(array_diff($columns, array_keys($class::ownedColumns()))));
        }
    }

    /** @dataProvider writes */
    public function test_writes_say_what_to_call_instead(Closure $write, string $instead): void
    {
        $before = [DB::table('tenant_vpn_tunnels')->get()->all(), DB::table('vpn_configurations')->get()->all()];
        try {
            $write($this->tunnel, $this->configuration);
            self::fail('It was written.');
        } catch (ReadOnlyException $refused) {
            self::assertStringContainsString($instead, $refused->getMessage());
        }
        self::assertEquals($before, [
            DB::table('tenant_vpn_tunnels')->get()->all(),
            DB::table('vpn_configurations')->get()->all(),
        ]);
    }

    /** @return array<string, array{Closure, string}> */
    public static function writes(): array
    {
        // what this version of Laravel does not have
        $newer = method_exists(Builder::class, 'incrementEach') ? [] : ['a time', 'counters, several at once'];

        return array_diff_key(self::allWrites(), array_flip($newer));
    }

    /** @return array<string, array{Closure, string}> */
    private static function allWrites(): array
    {
        return [
            'a status' => [
                static fn ($tunnel, $configuration) => $configuration->update(['status' => RouterStatus::Disabled]),
                'disableRouterPeer()',
            ],
            'a status by query' => [
                static fn () => VpnConfiguration::query()->update(['status' => 'disabled']),
                'disableRouterPeer()',
            ],
            'a qualified column' => [
                static fn () => VpnConfiguration::query()->update(['vpn_configurations.name' => 'x']),
                'routers()->update()',
            ],
            'a column in capitals' => [
                static fn () => VpnConfiguration::query()->update(['STATUS' => 'disabled']),
                'disableRouterPeer()',
            ],
            'a status beneath Eloquent' => [
                static fn () => VpnConfiguration::query()->toBase()->update(['status' => 'disabled']),
                'disableRouterPeer()',
            ],
            'a status by relation' => [
                static fn ($tunnel) => $tunnel->vpnConfigurations()->update(['status' => 'disabled']),
                'disableRouterPeer()',
            ],
            'a status without events' => [
                static fn ($tunnel, $configuration) => VpnConfiguration::withoutEvents(
                    static fn () => $configuration->forceFill(['status' => 'disabled'])->saveOrFail(),
                ),
                'disableRouterPeer()',
            ],
            'rows of a newer Laravel' => [
                static fn () => VpnConfiguration::query()->toBase()->insertOrIgnoreReturning([['name' => 'x']]),
                'addRouterPeer()',
            ],
            'rows from a query' => [
                static fn () => VpnConfiguration::query()->insertUsing(['name'], VpnConfiguration::select('name')),
                'addRouterPeer()',
            ],
            'rows beneath Eloquent' => [
                static fn () => VpnConfiguration::query()->getQuery()->insert([['name' => 'x']]),
                'addRouterPeer()',
            ],
            'removals beneath Eloquent' => [
                static fn () => VpnConfiguration::query()->toBase()->where('id', '>', 0)->delete(),
                'removeRouterPeer()',
            ],
            'removals by relation' => [
                static fn ($tunnel) => $tunnel->vpnConfigurations()->delete(),
                'removeRouterPeer()',
            ],
            'a key' => [
                static fn ($tunnel, $configuration) => $configuration->forceFill(['client_public_key' => 'x'])->save(),
                'rotateRouterKeys()',
            ],
            'a private key' => [
                static fn ($tunnel, $configuration) => $configuration->forceFill(['client_private_key' => 'x'])->save(),
                'never stored',
            ],
            'an address' => [
                static fn ($tunnel, $configuration) => $configuration->update(['client_ip' => '10.0.0.9']),
                'kept by the gateway',
            ],
            'a counter' => [
                static fn ($tunnel, $configuration) => $configuration->increment('bytes_sent', 5),
                'kept by the gateway',
            ],
            'a counter, beside another' => [
                static fn ($tunnel, $configuration) => $configuration->increment('visits', 1, ['bytes_sent' => 1]),
                'kept by the gateway',
            ],
            'a time' => [
                static fn ($tunnel, $configuration) => VpnConfiguration::query()->touch('last_handshake_at'),
                'kept by the gateway',
            ],
            'counters, several at once' => [
                static fn () => VpnConfiguration::query()->incrementEach(['visits' => 1, 'bytes_sent' => 1]),
                'kept by the gateway',
            ],
            'a row or none' => [
                static fn () => VpnConfiguration::query()->insertOrIgnore([['name' => 'x']]),
                'addRouterPeer()',
            ],
            'an update or a row' => [
                static fn () => VpnConfiguration::query()->updateOrInsert(['name' => 'x'], ['notes' => 'y']),
                'addRouterPeer()',
            ],
            'a new row' => [static fn ($tunnel) => VpnConfiguration::create(['name' => 'x']), 'addRouterPeer()'],
            'a row by relation' => [
                static fn ($tunnel) => $tunnel->vpnConfigurations()->create(['name' => 'x']),
                'addRouterPeer()',
            ],
            'a row if there is none' => [
                static fn () => VpnConfiguration::firstOrCreate(['name' => 'x']),
                'addRouterPeer()',
            ],
            'rows by query' => [static fn () => VpnConfiguration::insert([['name' => 'x']]), 'addRouterPeer()'],
            'rows by upsert' => [
                static fn () => VpnConfiguration::upsert([['name' => 'x']], ['name']),
                'addRouterPeer()',
            ],
            'a removal' => [static fn ($tunnel, $configuration) => $configuration->delete(), 'removeRouterPeer()'],
            'removals by query' => [static fn () => VpnConfiguration::query()->delete(), 'removeRouterPeer()'],
            'removals by id' => [
                static fn ($tunnel, $configuration) => VpnConfiguration::destroy($configuration->id),
                'removeRouterPeer()',
            ],
            'all of them' => [static fn () => VpnConfiguration::truncate(), 'removeRouterPeer()'],
            'a tenant\'s status' => [
                static fn ($tunnel) => $tunnel->update(['status' => 'disabled']),
                'disableTunnel()',
            ],
            'a tenant\'s name' => [static fn ($tunnel) => $tunnel->update(['name' => 'x']), 'tenants()->update()'],
            'a tenant\'s limit' => [
                static fn ($tunnel) => $tunnel->update(['limit_routers' => 5]),
                'tenants()->update()',
            ],
            'a new tenant' => [static fn () => TenantVpnTunnel::create(['name' => 'x']), 'createTunnel()'],
            'a tenant\'s removal' => [static fn ($tunnel) => $tunnel->delete(), 'removeTunnel()'],
        ];
    }

    public function test_keys_are_not_part_of_json(): void
    {
        self::assertArrayNotHasKey('client_private_key', json_decode($this->configuration->toJson(), true));
    }

    public function test_ones_own_class_may_take_the_place(): void
    {
        $own = new class extends VpnConfiguration {
            protected $table = 'vpn_configurations';

            public function label(): string
            {
                return "router {$this->name}";
            }
        };
        config(['sallyport.models.configuration' => $own::class]);
        self::assertSame('router Utrecht', $this->tunnel->vpnConfigurations()->sole()->label());
    }

    public function test_the_connection_is_configurable(): void
    {
        config(['sallyport.database.connection' => 'other']);
        self::assertSame('other', (new TenantVpnTunnel())->getConnectionName());
        config(['sallyport.database.connection' => null]);
        $this->fake->tenant(new NewTenant('x'));
        $this->fake->router(null, new NewRouter('y'));
        self::assertSame(1, TenantVpnTunnel::count(), 'what a test prepares is not in the tables');
    }
}
