<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use RuntimeException;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Events\RouterProvisioned;
use Sallyport\Laravel\Facades\Sallyport;
use Sallyport\Laravel\Jobs\AddRouterPeer;
use Sallyport\Laravel\Jobs\CreateTunnel;
use Sallyport\Laravel\Jobs\DisableRouterPeer;
use Sallyport\Laravel\Jobs\EnableRouterPeer;
use Sallyport\Laravel\Jobs\RemoveRouterPeer;
use Sallyport\Laravel\Jobs\RemoveTunnel;
use Sallyport\Laravel\Jobs\RotateRouterKeys;
use Sallyport\Laravel\Models\VpnConfiguration;
use Sallyport\Laravel\Testing\Keys;
use Sallyport\Laravel\Testing\SallyportFake;
use Sallyport\Laravel\Tests\TestCase;

final class JobsTest extends TestCase
{
    private SallyportFake $fake;

    protected function setUp(): void
    {
        parent::setUp();
        $this->migrateMirror();
        $this->migrateQueue();
        $this->fake = Sallyport::fake();
    }

    public function test_a_router_is_added_and_its_configuration_handed_over(): void
    {
        $handed = [];
        Event::listen(static function (RouterProvisioned $event) use (&$handed): void {
            $handed[] = $event->provisioned;
        });
        $tenant = Sallyport::tenants()->create(new NewTenant('Acme'));
        AddRouterPeer::dispatch($tenant->id, new NewRouter('Utrecht'));
        $this->fake->assertRouterNotAdded();
        $this->work();
        $this->fake->assertRouterAdded('Utrecht');
        self::assertStringContainsString($handed[0]->privateKey, $handed[0]->config);
        self::assertSame('Utrecht', VpnConfiguration::sole()->name);
    }

    public function test_a_listener_that_fails_gets_the_same_keys_again(): void
    {
        $handed = [];
        Event::listen(static function (RouterProvisioned $event) use (&$handed): void {
            $handed[] = $event->provisioned->privateKey;
            if (count($handed) === 1) {
                throw new RuntimeException('The device did not answer.');
            }
        });
        AddRouterPeer::dispatch($this->fake->tenant()->id, new NewRouter('Utrecht'));
        $this->work();
        self::assertSame(1, DB::table('jobs')->count(), 'it waits for another try');
        $this->work();
        self::assertCount(2, $handed);
        self::assertSame($handed[0], $handed[1]);
        $this->fake->assertRoutersAdded(1);
        self::assertSame(0, DB::table('jobs')->count());
    }

    public function test_it_is_tried_again_while_the_gateway_is_away(): void
    {
        $tenant = $this->fake->tenant();
        $this->fake->vanish();
        AddRouterPeer::dispatch($tenant->id, new NewRouter('Utrecht'));
        $this->work();
        self::assertSame([1, 0], [DB::table('jobs')->count(), DB::table('failed_jobs')->count()]);
        $this->fake->comeBack();
        $this->work();
        self::assertSame([0, 0], [DB::table('jobs')->count(), DB::table('failed_jobs')->count()]);
        $this->fake->assertRoutersAdded(1);
    }

    public function test_a_refusal_ends_it_at_once(): void
    {
        AddRouterPeer::dispatch('0190b6a4-0000-7d2f-8a5b-6c7d8e9f0a1b', new NewRouter('Utrecht'));
        $this->work();
        self::assertSame([0, 1], [DB::table('jobs')->count(), DB::table('failed_jobs')->count()]);
        self::assertStringContainsString('There is no tenant', DB::table('failed_jobs')->value('exception'));
    }

    public function test_the_same_wish_waits_once_only(): void
    {
        $tenant = $this->fake->tenant();
        AddRouterPeer::dispatch($tenant->id, new NewRouter('Utrecht'));
        AddRouterPeer::dispatch($tenant->id, new NewRouter('Utrecht'));
        AddRouterPeer::dispatch($tenant->id, new NewRouter('Utrecht', lans: ['192.168.88.0/24']));
        self::assertSame(2, DB::table('jobs')->count(), 'another router of the same name is another wish');
        $this->work();
        AddRouterPeer::dispatch($tenant->id, new NewRouter('Utrecht'));
        self::assertSame(1, DB::table('jobs')->count());
    }

    public function test_of_contrary_wishes_none_is_lost_and_the_last_one_counts(): void
    {
        $router = $this->fake->router();
        DisableRouterPeer::dispatch($router->id);
        EnableRouterPeer::dispatch($router->id);
        DisableRouterPeer::dispatch($router->id);
        $this->work();
        self::assertTrue(Sallyport::routers()->get($router->id)->isDisabled());
    }

    public function test_a_try_that_comes_late_does_not_undo_what_was_wished_after_it(): void
    {
        $router = $this->fake->router();
        $this->fake->vanish();
        EnableRouterPeer::dispatch($router->id);
        $this->work();
        self::assertSame(1, DB::table('jobs')->count(), 'it waits for another try');
        $this->fake->comeBack();
        DisableRouterPeer::dispatchSync($router->id);
        $this->work();
        self::assertSame([0, 0], [DB::table('jobs')->count(), DB::table('failed_jobs')->count()]);
        self::assertTrue(Sallyport::routers()->get($router->id)->isDisabled());
        EnableRouterPeer::dispatchSync($router->id);
        self::assertFalse(Sallyport::routers()->get($router->id)->isDisabled());
    }

    public function test_keys_that_were_wished_last_are_the_routers(): void
    {
        $router = $this->fake->router();
        [$first, $second] = [Keys::pair()[1], Keys::pair()[1]];
        $this->fake->vanish();
        RotateRouterKeys::dispatch($router->id, $first);
        $this->work();
        $this->fake->comeBack();
        RotateRouterKeys::dispatchSync($router->id, $second);
        $this->work();
        self::assertSame($second, Sallyport::routers()->get($router->id)->publicKey);
    }

    public function test_the_payload_shows_no_key(): void
    {
        $preshared = base64_encode(str_repeat("\7", 32));
        AddRouterPeer::dispatch(
            $this->fake->tenant()->id,
            new NewRouter('Utrecht', presharedKey: $preshared),
            'my-idempotency-key',
        );
        $payload = DB::table('jobs')->value('payload');
        self::assertStringNotContainsString($preshared, stripslashes($payload));
        self::assertStringNotContainsString('my-idempotency-key', $payload);
        $this->work();
        $sent = $this->fake->sent('POST', '/v1/tenants/*/routers')->last();
        self::assertSame($preshared, $sent->body['preshared_key'], 'it arrives all the same');
    }

    public function test_all_the_others(): void
    {
        $handed = 0;
        Event::listen(static function (RouterProvisioned $event) use (&$handed): void {
            $handed += $event->rotated ? 1 : 0;
        });
        CreateTunnel::dispatch(new NewTenant('Acme'));
        $this->work();
        $tenant = Sallyport::tenants()->findByName('Acme');
        $this->fake->assertTenantCreated('Acme');
        $router = $this->fake->router($tenant);
        $cases = [DisableRouterPeer::class, EnableRouterPeer::class, RotateRouterKeys::class, RemoveRouterPeer::class];
        foreach ($cases as $job) {
            $job::dispatch($router->id);
            $this->work();
        }
        RemoveTunnel::dispatch($tenant->id);
        $this->work();
        $this->fake
            ->assertRouterDisabled($router)
            ->assertRouterEnabled($router)
            ->assertRouterRotated($router)
            ->assertRouterRemoved($router)
            ->assertTenantRemoved($tenant);
        self::assertSame(1, $handed);
        self::assertSame(0, DB::table('failed_jobs')->count());
    }

    public function test_removing_what_is_gone_succeeds(): void
    {
        RemoveRouterPeer::dispatch('0190b6a4-4d2f-7e30-9b6c-7d8e9f0a1b2c');
        RemoveTunnel::dispatch('0190b6a4-4d2f-7e30-9b6c-7d8e9f0a1b2c');
        $this->work();
        self::assertSame([0, 0], [DB::table('jobs')->count(), DB::table('failed_jobs')->count()]);
    }

    public function test_run_at_once_a_refusal_is_thrown(): void
    {
        $this->expectExceptionMessage('There is no tenant');
        AddRouterPeer::dispatchSync('0190b6a4-0000-7d2f-8a5b-6c7d8e9f0a1b', new NewRouter('Utrecht'));
    }

    public function test_the_queue_is_configurable(): void
    {
        Queue::fake();
        config(['sallyport.queue' => ['connection' => 'redis', 'queue' => 'vpn']]);
        RemoveRouterPeer::dispatch('0190b6a4-4d2f-7e30-9b6c-7d8e9f0a1b2c');
        Queue::assertPushedOn(
            'vpn',
            RemoveRouterPeer::class,
            static fn (RemoveRouterPeer $job): bool => $job->connection === 'redis',
        );
    }

    public function test_waits_between_tries_grow(): void
    {
        $backoff = (new RemoveRouterPeer('x'))->backoff();
        $sorted = $backoff;
        sort($sorted);
        self::assertSame($sorted, $backoff);
        self::assertGreaterThan(60, end($backoff));
    }

    /** Works off what is queued now; what is released for later is due at once the next time. */
    private function work(): void
    {
        DB::table('jobs')->update(['available_at' => time() - 1]);
        $this->artisan('queue:work', ['--stop-when-empty' => true, '--sleep' => 0]);
    }
}
