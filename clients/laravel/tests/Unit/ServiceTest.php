<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Illuminate\Support\Facades\Schema;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Enums\TenantStatus;
use Sallyport\Laravel\Exceptions\ConflictException;
use Sallyport\Laravel\Exceptions\NotFoundException;
use Sallyport\Laravel\Exceptions\UnavailableException;
use Sallyport\Laravel\Facades\Sallyport;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;
use Sallyport\Laravel\TenantVpnTunnelService;
use Sallyport\Laravel\Testing\SallyportFake;
use Sallyport\Laravel\Tests\TestCase;

final class ServiceTest extends TestCase
{
    private const TENANT = '0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b';
    private const ROUTER = '0190b6a4-4d2f-7e30-9b6c-7d8e9f0a1b2c';
    private const KEY = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';

    private SallyportFake $fake;
    private TenantVpnTunnelService $service;
    private TenantVpnTunnel $tunnel;

    protected function setUp(): void
    {
        parent::setUp();
        $this->migrateMirror();
        $this->fake = Sallyport::fake();
        $this->service = $this->app->make(TenantVpnTunnelService::class);
        $this->tunnel = $this->service->createTunnel(self::TENANT, 'Acme', Addressing::Private);
    }

    public function test_a_tunnel_is_a_tenant_and_a_row(): void
    {
        $this->fake->assertTenantCreated('Acme');
        self::assertSame(self::TENANT, TenantVpnTunnel::sole()->tenant_id);
        self::assertTrue($this->tunnel->is(TenantVpnTunnel::sole()));
        self::assertSame('Acme', $this->service->tunnelStatus($this->tunnel)->name);
    }

    public function test_a_wish_becomes_the_row(): void
    {
        $configuration = new VpnConfiguration([
            'router_id' => self::ROUTER,
            'client_public_key' => self::KEY,
            'client_ip' => '10.100.0.77/32',
        ]);
        $made = $this->service->addRouterPeer($this->tunnel, $configuration, lans: ['192.168.88.0/24']);
        self::assertNull($made->privateKey);
        self::assertStringContainsString('[Peer]', $made->config);
        self::assertTrue($configuration->exists);
        self::assertFalse($configuration->isDirty());
        self::assertSame(
            ['10.100.0.77', self::KEY, 1],
            [$configuration->client_ip, $configuration->client_public_key, $configuration->lans],
        );
        self::assertTrue($configuration->is(VpnConfiguration::sole()));
        self::assertTrue($configuration->tenantVpnTunnel->is($this->tunnel));
        $this->fake->assertRouterAdded(self::KEY);
    }

    public function test_a_wish_may_leave_everything_out(): void
    {
        $configuration = new VpnConfiguration();
        $made = $this->service->addRouterPeer($this->tunnel, $configuration);
        self::assertNotNull($made->privateKey);
        self::assertStringContainsString($made->privateKey, $made->config);
        self::assertNull($configuration->client_private_key);
        self::assertSame("router-{$configuration->router_id}", $configuration->name);
    }

    public function test_adding_again_makes_sure_that_it_may_connect(): void
    {
        $wish = ['router_id' => self::ROUTER, 'client_public_key' => self::KEY];
        $this->service->addRouterPeer($this->tunnel, $first = new VpnConfiguration($wish));
        $this->service->disableRouterPeer($first);
        self::assertSame(RouterStatus::Disabled, $first->status);
        $made = $this->service->addRouterPeer($this->tunnel, $second = new VpnConfiguration($wish));
        self::assertTrue($second->is($first));
        self::assertSame(RouterStatus::Pending, $second->status);
        self::assertStringContainsString('[Interface]', $made->config);
        $this->fake->assertRoutersAdded(1);
        $this->service->addRouterPeer($this->tunnel, VpnConfiguration::sole());
        $this->fake->assertRoutersAdded(1);
    }

    public function test_another_key_or_tenant_under_the_same_id_is_refused(): void
    {
        $this->service->addRouterPeer(
            $this->tunnel,
            new VpnConfiguration(['router_id' => self::ROUTER, 'client_public_key' => self::KEY]),
        );
        $other = $this->service->createTunnel('0190b6a4-3c1e-7d2f-8a5b-000000000000');
        foreach ([[$this->tunnel, base64_encode(str_repeat("\2", 32))], [$other, null]] as [$tunnel, $key]) {
            try {
                $this->service->addRouterPeer(
                    $tunnel,
                    new VpnConfiguration(['router_id' => self::ROUTER, 'client_public_key' => $key]),
                );
                self::fail();
            } catch (ConflictException $refused) {
                self::assertSame('duplicate-id', $refused->type());
            }
        }
    }

    public function test_disabling_and_enabling(): void
    {
        $this->service->addRouterPeer($this->tunnel, $configuration = new VpnConfiguration());
        self::assertSame(RouterStatus::Disabled, $this->service->disableRouterPeer($configuration)->status);
        self::assertSame(RouterStatus::Disabled, $configuration->fresh()->status);
        self::assertSame(RouterStatus::Pending, $this->service->enableRouterPeer($configuration)->status);
        self::assertSame(TenantStatus::Disabled, $this->service->disableTunnel($this->tunnel)->fresh()->status);
        self::assertSame(TenantStatus::Active, $this->service->enableTunnel($this->tunnel)->fresh()->status);
    }

    public function test_rotating_changes_the_key_in_the_row(): void
    {
        $this->service->addRouterPeer($this->tunnel, $configuration = new VpnConfiguration());
        $old = $configuration->client_public_key;
        $made = $this->service->rotateRouterKeys($configuration, presharedKey: NewRouter::GENERATE);
        self::assertNotSame($old, $configuration->client_public_key);
        self::assertSame($made->router->publicKey, $configuration->fresh()->client_public_key);
        self::assertTrue($made->router->hasPresharedKey);
    }

    public function test_removing_takes_the_row_and_may_be_repeated(): void
    {
        $this->service->addRouterPeer($this->tunnel, $configuration = new VpnConfiguration());
        $this->service->removeRouterPeer($configuration);
        $this->service->removeRouterPeer($configuration);
        self::assertFalse($configuration->exists);
        self::assertSame(0, VpnConfiguration::count());
        $this->service->addRouterPeer($this->tunnel, new VpnConfiguration());
        $this->service->removeTunnel($this->tunnel);
        $this->service->removeTunnel($this->tunnel);
        self::assertSame([0, 0], [VpnConfiguration::count(), TenantVpnTunnel::count()]);
    }

    public function test_status_and_text(): void
    {
        $this->service->addRouterPeer($this->tunnel, $configuration = new VpnConfiguration());
        self::assertFalse($this->service->status($configuration)->connected);
        $this->fake->connect($configuration->router_id);
        self::assertTrue($this->service->status($configuration)->connected);
        self::assertStringContainsString('[Peer]', $this->service->configurationText($configuration));
    }

    public function test_a_refusal_leaves_the_wish_a_wish(): void
    {
        $this->fake->refuse('POST', '/v1/tenants/*/routers', 503, 'data-plane-away', times: 9);
        $configuration = new VpnConfiguration(['name' => 'Utrecht']);
        try {
            $this->service->addRouterPeer($this->tunnel, $configuration);
            self::fail();
        } catch (UnavailableException) {
        }
        self::assertFalse($configuration->exists);
        self::assertSame(['name' => 'Utrecht'], $configuration->getAttributes());
    }

    public function test_without_tables_the_models_carry_what_the_gateway_said(): void
    {
        config(['sallyport.database.mode' => 'none']);
        $this->app->forgetInstance(Tables::class);
        Schema::drop('vpn_configurations');
        $service = $this->app->make(TenantVpnTunnelService::class);
        $service->addRouterPeer($this->tunnel, $configuration = new VpnConfiguration(['name' => 'Utrecht']));
        self::assertSame('10.100.0.1', $configuration->client_ip);
        self::assertSame('vpn.example.com', $configuration->server_endpoint);
        self::assertNull($configuration->id);
        $service->removeRouterPeer($configuration);
        $this->expectException(NotFoundException::class);
        $service->status($configuration);
    }
}
