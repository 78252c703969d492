<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Illuminate\Support\Facades\Cache;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use RuntimeException;
use Sallyport\Laravel\Console\EventPosition;
use Sallyport\Laravel\Data\Event as ChangeEvent;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Events\ChangesMissed;
use Sallyport\Laravel\Events\Factory;
use Sallyport\Laravel\Events\GatewayEvent;
use Sallyport\Laravel\Events\RouterCreated;
use Sallyport\Laravel\Events\TenantDeleted;
use Sallyport\Laravel\Events\UnknownEvent;
use Sallyport\Laravel\Facades\Sallyport;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;
use Sallyport\Laravel\Tests\TestCase;

final class CommandsTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        config(['sallyport.database.mode' => 'mirror']);
    }

    public function test_listen_dispatches_each_change_once_and_in_order(): void
    {
        $this->migrateMirror();
        $fake = Sallyport::fake();
        $seen = [];
        Event::listen(static function (GatewayEvent $event) use (&$seen): void {
            $seen[] = $event->event()->kind;
        });
        $router = $fake->router();
        self::assertSame(0, $this->artisan('sallyport:listen', ['--once' => true, '--from' => 'start']));
        self::assertSame(['tenant.created', 'router.created'], $seen);
        self::assertSame($router->id, VpnConfiguration::sole()->router_id);
        self::assertSame(2, $this->app->make(EventPosition::class)->get());
        $fake->connect($router);
        Sallyport::tenants()->delete($router->tenantId);
        $this->artisan('sallyport:listen', ['--once' => true]);
        self::assertSame(['tenant.created', 'router.created', 'router.activated', 'tenant.deleted'], $seen);
        self::assertSame([0, 0], [VpnConfiguration::count(), TenantVpnTunnel::count()]);
        $this->artisan('sallyport:listen', ['--once' => true]);
        self::assertCount(4, $seen);
    }

    public function test_listen_dispatches_classes_of_their_own(): void
    {
        Event::fake();
        $this->migrateMirror();
        $fake = Sallyport::fake();
        $router = $fake->router();
        Sallyport::tenants()->delete($router->tenantId);
        $this->artisan('sallyport:listen', ['--once' => true, '--from' => 'start']);
        Event::assertDispatched(
            RouterCreated::class,
            static fn (RouterCreated $event): bool => $event->event->routerId === $router->id,
        );
        Event::assertDispatched(TenantDeleted::class);
    }

    public function test_told_to_stop_it_ends_between_two_events(): void
    {
        $this->migrateMirror();
        $fake = Sallyport::fake();
        $fake->router();
        $seen = [];
        Event::listen(static function (GatewayEvent $event) use (&$seen): void {
            $seen[] = $event->event()->kind;
            if (count($seen) === 1) {
                posix_kill(posix_getpid(), SIGTERM);
            }
        });
        self::assertSame(0, $this->artisan('sallyport:listen', ['--from' => 'start']));
        self::assertSame(['tenant.created'], $seen);
        self::assertSame(SIG_DFL, pcntl_signal_get_handler(SIGTERM));
        $this->artisan('sallyport:listen', ['--once' => true]);
        self::assertSame(['tenant.created', 'router.created'], $seen);
    }

    public function test_changes_that_are_no_longer_kept_are_told_and_made_up_for(): void
    {
        $this->migrateMirror();
        $fake = Sallyport::fake();
        $fake->router();
        $this->app->make(EventPosition::class)->put(1);
        $fake->tenant(new NewTenant('Beta'));
        $fake->forgetEvents(2);
        $missed = null;
        Event::listen(static function (ChangesMissed $event) use (&$missed): void {
            $missed = [$event->after, $event->before];
        });
        $this->artisan('sallyport:listen', ['--once' => true]);
        self::assertSame([1, 3], $missed);
        self::assertSame(2, TenantVpnTunnel::count());
        self::assertSame(1, VpnConfiguration::count());
    }

    public function test_that_nothing_at_all_is_kept_is_told_once(): void
    {
        config(['sallyport.database.mode' => 'none']);
        Event::fake([ChangesMissed::class]);
        $fake = Sallyport::fake();
        $fake->router();
        $this->app->make(EventPosition::class)->put(1);
        $fake->forgetEvents(2);
        $this->artisan('sallyport:listen', ['--once' => true]);
        $this->artisan('sallyport:listen', ['--once' => true]);
        Event::assertDispatchedTimes(ChangesMissed::class, 1);
    }

    public function test_what_was_missed_since_the_very_beginning_is_told_too(): void
    {
        config(['sallyport.database.mode' => 'none']);
        Event::fake([ChangesMissed::class]);
        $fake = Sallyport::fake();
        $this->artisan('sallyport:listen', ['--once' => true]);
        $fake->router();
        $fake->forgetEvents(1);
        $this->artisan('sallyport:listen', ['--once' => true]);
        Event::assertDispatchedTimes(ChangesMissed::class, 1);
        $this->artisan('sallyport:listen', ['--once' => true, '--from' => 'start']);
        Event::assertDispatchedTimes(ChangesMissed::class, 1);
    }

    public function test_a_mirror_that_cannot_be_taken_anew_keeps_listen_where_it_was(): void
    {
        $fake = Sallyport::fake();
        config(['sallyport.database.mode' => 'mirror']);
        $fake->router();
        $this->app->make(EventPosition::class)->put(0);
        $fake->forgetEvents(1);
        try {
            $this->artisan('sallyport:listen', ['--once' => true]);
            self::fail('There are no tables to take anything into.');
        } catch (RuntimeException $error) {
            self::assertStringContainsString('could not be taken anew', $error->getMessage());
        }
        self::assertSame(0, $this->app->make(EventPosition::class)->get());
    }

    public function test_a_gateway_that_was_put_back_is_noticed(): void
    {
        $this->migrateMirror();
        Sallyport::fake()->router();
        $this->app->make(EventPosition::class)->put(77);
        $missed = null;
        Event::listen(static function (ChangesMissed $event) use (&$missed): void {
            $missed = [$event->after, $event->before];
        });
        self::assertSame(0, $this->artisan('sallyport:listen', ['--once' => true]));
        self::assertStringContainsString('put back from a backup', $this->output());
        self::assertSame([[77, 2], 1], [$missed, VpnConfiguration::count()], 'the copies are taken anew');
        self::assertSame(2, $this->app->make(EventPosition::class)->get());
    }

    public function test_the_first_time_listen_begins_with_now(): void
    {
        Event::fake();
        $fake = Sallyport::fake();
        $fake->router();
        $this->artisan('sallyport:listen', ['--once' => true]);
        Event::assertNotDispatched(RouterCreated::class);
    }

    public function test_a_listener_that_throws_gets_the_event_again(): void
    {
        $this->migrateMirror();
        $fake = Sallyport::fake();
        $times = 0;
        Event::listen(static function (RouterCreated $event) use (&$times): void {
            if (++$times === 1) {
                throw new RuntimeException('later');
            }
        });
        $fake->router();
        try {
            $this->artisan('sallyport:listen', ['--once' => true, '--from' => 'start']);
            self::fail();
        } catch (RuntimeException $error) {
            self::assertSame('later', $error->getMessage());
        }
        $this->artisan('sallyport:listen', ['--once' => true]);
        self::assertSame(2, $times);
    }

    public function test_listen_says_what_from_may_be(): void
    {
        Sallyport::fake();
        self::assertSame(2, $this->artisan('sallyport:listen', ['--from' => 'yesterday']));
        self::assertStringContainsString('"now", "start" or a revision', $this->output());
    }

    public function test_listen_ends_in_time_and_says_that_the_gateway_is_away(): void
    {
        Sallyport::fake()->vanish();
        self::assertSame(1, $this->artisan('sallyport:listen', ['--once' => true]));
        self::assertStringContainsString('cannot be reached', $this->output());
        $began = microtime(true);
        self::assertSame(0, $this->artisan('sallyport:listen', ['--max-time' => 1]));
        self::assertLessThan(4, microtime(true) - $began);
    }

    public function test_a_kind_without_a_class_is_dispatched_all_the_same(): void
    {
        $event = new ChangeEvent([
            'revision' => 1,
            'at' => '2026-01-31T12:34:56Z',
            'kind' => 'moon.rose',
            'tenant_id' => null,
            'router_id' => null,
            'actor' => 'uid:0',
        ]);
        self::assertInstanceOf(UnknownEvent::class, Factory::make($event));
    }

    public function test_every_kind_of_the_gateway_has_a_class(): void
    {
        $folder = dirname(__DIR__, 4) . '/src/service';
        if (!is_dir($folder)) {
            self::markTestSkipped('The gateway\'s sources are not at hand.');
        }
        $kinds = [];
        foreach ((array) glob("{$folder}/{,*/}*.c", GLOB_BRACE) as $file) {
            preg_match_all('/"((?:tenant|router|token)\.[a-z_]+)"/', (string) file_get_contents($file), $found);
            array_push($kinds, ...$found[1]);
        }
        self::assertNotEmpty($kinds);
        self::assertSame([], array_values(array_diff(array_unique($kinds), array_keys(Factory::KINDS))));
    }

    public function test_sync_copies_everything_and_removes_what_is_gone(): void
    {
        $this->migrateMirror();
        $fake = Sallyport::fake();
        $tenant = $fake->tenant(new NewTenant('Acme'));
        $router = $fake->router($tenant, new NewRouter('Utrecht'));
        self::assertSame(0, $this->artisan('sallyport:sync'));
        self::assertStringContainsString('1 tenants and 1 routers taken over', $this->output());
        self::assertSame('Utrecht', TenantVpnTunnel::sole()->vpnConfigurations()->sole()->name);
        Sallyport::routers()->delete($router->id);
        Sallyport::tenants()->update($tenant->id, name: 'Beta');
        $other = $fake->tenant(new NewTenant('Gamma'));
        self::assertSame(0, $this->artisan('sallyport:sync', ['--dry-run' => true]));
        self::assertStringContainsString('1 routers that are gone would be removed', $this->output());
        self::assertSame(1, VpnConfiguration::count());
        $this->artisan('sallyport:sync');
        self::assertSame(0, VpnConfiguration::count());
        self::assertEqualsCanonicalizing(['Beta', 'Gamma'], TenantVpnTunnel::pluck('name')->all());
        Sallyport::tenants()->delete($other->id);
        $this->artisan('sallyport:sync');
        self::assertSame(['Beta'], TenantVpnTunnel::pluck('name')->all());
    }

    public function test_listen_goes_on_where_sync_began(): void
    {
        $this->migrateMirror();
        $fake = Sallyport::fake();
        $fake->router();
        $this->artisan('sallyport:sync');
        self::assertSame(2, $this->app->make(EventPosition::class)->get());
    }

    public function test_sync_says_how_to_make_the_tables(): void
    {
        Sallyport::fake();
        self::assertSame(1, $this->artisan('sallyport:sync'));
        self::assertStringContainsString('sallyport-migrations', $this->output());
    }

    public function test_sync_tells_a_shared_database_from_another(): void
    {
        $fake = Sallyport::fake();
        $fake->router();
        config(['sallyport.database.mode' => 'shared']);
        self::assertSame(1, $this->artisan('sallyport:sync'));
        self::assertStringContainsString("is not the gateway's", $this->output());
        DB::statement('CREATE TABLE vpn_revision (id INTEGER, value INTEGER)');
        DB::insert('INSERT INTO vpn_revision VALUES (1, 77)');
        self::assertSame(1, $this->artisan('sallyport:sync'));
        self::assertStringContainsString('at revision 77', $this->output());
        DB::update('UPDATE vpn_revision SET value = 2');
        self::assertSame(0, $this->artisan('sallyport:sync'));
        config(['sallyport.database.mode' => 'none']);
        self::assertSame(0, $this->artisan('sallyport:sync'));
    }

    public function test_the_doctor_finds_nothing_to_mend(): void
    {
        $this->migrateMirror();
        $fake = Sallyport::fake();
        touch($this->folder() . '/api.sock');
        config(['sallyport.socket' => $this->folder() . '/api.sock']);
        self::assertSame(0, $this->artisan('sallyport:doctor'));
        self::assertStringNotContainsString('warning', $this->output());
        self::assertStringContainsString('up and in sync', $this->output());
        $fake->assertNothingChanged();
    }

    public function test_the_doctor_names_what_is_wrong_and_how_to_mend_it(): void
    {
        Sallyport::fake();
        touch($this->folder() . '/api.sock');
        $cases = [
            [['sallyport.socket' => $this->folder() . '/none.sock'], 1, 'volumes: /run/sallyport:/run/sallyport'],
            [['sallyport.socket' => $this->folder() . '/api.sock'], 1, 'php artisan migrate'],
            [
                ['sallyport.vpn.interface' => 'wg7', 'sallyport.database.mode' => 'none'],
                0,
                'VPN_INTERFACE is wg7 here, and wg0 at the gateway',
            ],
            [['sallyport.vpn.interface' => 'wg0', 'sallyport.vpn.server_ip' => '203.0.113.9'], 0, 'VPN_SERVER_IP'],
            [
                ['sallyport.database.mode' => 'shared'],
                1,
                'no table tenant_vpn_tunnels, vpn_configurations, vpn_revision',
            ],
            [['sallyport.database.mode' => 'nonsense'], 1, 'shared, mirror or none'],
            [['sallyport.database.mode' => 'none', 'cache.default' => 'array'], 0, 'SALLYPORT_EVENTS_STORE'],
            [['sallyport.url' => 'http://vpn.example.com:8080'], 1, 'sallyport token add'],
            [['sallyport.token' => 'sp_x'], 0, 'in clear'],
        ];
        foreach ($cases as [$config, $status, $says]) {
            config($config);
            self::assertSame($status, $this->artisan('sallyport:doctor'), $says . $this->output());
            self::assertStringContainsString($says, $this->output());
        }
    }

    public function test_the_doctor_tells_an_absent_and_an_unwell_gateway(): void
    {
        $fake = Sallyport::fake();
        touch($this->folder() . '/api.sock');
        config(['sallyport.socket' => $this->folder() . '/api.sock', 'sallyport.database.mode' => 'none']);
        $fake->vanish();
        self::assertSame(1, $this->artisan('sallyport:doctor'));
        self::assertStringContainsString('systemctl status sallyportd', $this->output());
        $fake->comeBack()->refuse('GET', '/v1/status', 401, 'unauthorized', 'A token is needed.');
        self::assertSame(1, $this->artisan('sallyport:doctor'));
        self::assertStringContainsString('sallyport token add', $this->output());
        $fake->refuse('GET', '/v1/status', 403, 'scope', 'Not for tenants.');
        self::assertSame(0, $this->artisan('sallyport:doctor', ['--json' => true]));
        self::assertSame('warning', json_decode($this->output(), true)[1]['level']);
    }

    public function test_install_publishes_writes_and_checks(): void
    {
        Sallyport::fake();
        touch($this->folder() . '/api.sock');
        $status = $this->artisan('sallyport:install', [
            '--socket' => $this->folder() . '/api.sock',
            '--database' => 'none',
        ]);
        self::assertSame(0, $status, $this->output());
        self::assertFileExists($this->app->configPath('sallyport.php'));
        $env = (string) file_get_contents($this->folder() . '/.env');
        self::assertStringContainsString(
            "APP_NAME=tests\nSALLYPORT_SOCKET={$this->folder()}/api.sock\nSALLYPORT_DATABASE=none\n",
            $env,
        );
        $this->artisan('sallyport:install', ['--database' => 'none']);
        self::assertSame($env, file_get_contents($this->folder() . '/.env'));
    }

    public function test_install_refuses_a_mode_that_is_none(): void
    {
        Sallyport::fake();
        self::assertSame(2, $this->artisan('sallyport:install', ['--database' => 'postgres']));
        self::assertFileDoesNotExist($this->app->configPath('sallyport.php'));
    }

    public function test_the_position_outlives_the_process(): void
    {
        $this->app->make(EventPosition::class)->put(42);
        self::assertSame(42, Cache::store('file')->get('sallyport.events.after'));
    }
}
