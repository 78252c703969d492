<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Integration;

use Carbon\CarbonImmutable;
use Illuminate\Support\Str;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Limits;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\ConfigFormat;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Enums\TenantStatus;
use Sallyport\Laravel\Enums\TokenScope;
use Sallyport\Laravel\Exceptions\AuthenticationException;
use Sallyport\Laravel\Exceptions\AuthorizationException;
use Sallyport\Laravel\Exceptions\ConflictException;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\NotFoundException;
use Sallyport\Laravel\Exceptions\ValidationException;
use Sallyport\Laravel\Http\CurlTransport;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\RetryPolicy;
use Sallyport\Laravel\Http\Transport;

final class ClientTest extends IntegrationTestCase
{
    private Tenant $tenant;

    protected function setUp(): void
    {
        parent::setUp();
        $this->tenant = $this->sallyport()
            ->tenants()
            ->create(new NewTenant('Acme ' . Str::random(8), addressing: Addressing::Private));
    }

    protected function tearDown(): void
    {
        if (isset($this->tenant)) {
            $this->sallyport()->tenants()->delete($this->tenant->id);
        }
        parent::tearDown();
    }

    public function test_the_gateway_is_well(): void
    {
        self::assertTrue($this->sallyport()->health()->isOk());
        $status = $this->sallyport()->status();
        self::assertTrue(self::eventually(fn (): bool => $this->sallyport()->status()->isInSync()));
        self::assertSame('vpn.example.com', $status->gateway->endpoint);
        self::assertSame('postgresql', $status->store->kind);
        self::assertTrue($this->sallyport()->gateways()->firstWhere('self', true)->alive);
        self::assertArrayHasKey('openapi', $this->sallyport()->document());
        self::assertNotEmpty($this->sallyport()->counters());
    }

    public function test_a_tenants_life(): void
    {
        $tenants = $this->sallyport()->tenants();
        self::assertSame([TenantStatus::Active, '10.100.0.0/16'], [$this->tenant->status, $this->tenant->subnet]);
        $changed = $tenants->update(
            $this->tenant->id,
            egress: true,
            limits: new Limits(bitsPerSecond: 1_000_000, routers: 3),
        );
        self::assertTrue($changed->egress);
        self::assertSame(
            [1_000_000, 0, 3],
            [$changed->limits->bitsPerSecond, $changed->limits->packetsPerSecond, $changed->limits->routers],
        );
        self::assertSame(TenantStatus::Disabled, $tenants->disable($this->tenant->id)->status);
        self::assertSame(TenantStatus::Active, $tenants->enable($this->tenant->id)->status);
        self::assertSame($this->tenant->id, $tenants->findByName($this->tenant->name)->id);
        self::assertNull($tenants->find((string) Str::uuid()));
    }

    public function test_a_routers_life(): void
    {
        $routers = $this->sallyport()->routers();
        $made = $routers->create(
            $this->tenant->id,
            new NewRouter('Utrecht', presharedKey: NewRouter::GENERATE, lans: ['192.168.88.0/24']),
        );
        $router = $made->router;
        self::assertStringContainsString("PrivateKey = {$made->privateKey}", $made->config);
        self::assertStringContainsString('PresharedKey', $made->config);
        self::assertSame(
            [RouterStatus::Pending, false, null],
            [$router->status, $router->connected, $router->lastHandshakeAt],
        );
        self::assertSame('Delft', $routers->update($router->id, name: 'Delft', lans: ['192.168.89.0/24'])->name);
        self::assertSame(['192.168.89.0/24'], $routers->get($router->id)->lans);
        self::assertSame(RouterStatus::Disabled, $routers->disable($router->id)->status);
        self::assertSame(RouterStatus::Pending, $routers->enable($router->id)->status);
        $rotated = $routers->rotate($router->id, $key = self::key());
        self::assertSame(
            [$key, null, true],
            [$rotated->router->publicKey, $rotated->privateKey, $rotated->router->hasPresharedKey],
        );
        self::assertSame($router->id, $routers->findByPublicKey($key)->id);
        self::assertSame($router->id, $routers->all(address: $router->hubAddress)->sole()->id);
        $routers->delete($router->id);
        self::assertNull($routers->find($router->id));
    }

    public function test_every_form_of_configuration(): void
    {
        $router = $this->sallyport()->routers()->create($this->tenant->id, new NewRouter('Utrecht'))->router;
        $hubKey = $this->sallyport()->status()->gateway->publicKey;
        foreach (ConfigFormat::cases() as $format) {
            $says = $format === ConfigFormat::Qr ? '<svg' : $hubKey;
            $config = $this->sallyport()->routers()->config($router->id, $format);
            self::assertStringContainsString($says, $config, $format->value);
            $made = $this->sallyport()->routers()->create($this->tenant->id, new NewRouter('X'), format: $format);
            self::assertStringContainsString($says, $made->config, $format->value);
            if ($format !== ConfigFormat::Qr) {
                self::assertStringContainsString((string) $made->privateKey, $made->config, $format->value);
                self::assertStringNotContainsString((string) $made->privateKey, $config);
            }
        }
        $this->expectException(ValidationException::class);
        $this->sallyport()->routers()->config($router->id, 'papyrus');
    }

    public function test_the_data_plane_follows(): void
    {
        // What another test has deleted may still be on its way out of the data plane: only the two together settle.
        $follows = function (): bool {
            $status = $this->sallyport()->status();
            return $status->backend->peers === $status->counts->routers;
        };
        self::assertTrue(self::eventually($follows));
        $before = $this->sallyport()->status()->backend->peers;
        $this->sallyport()->routers()->create($this->tenant->id, new NewRouter('Utrecht'));
        self::assertTrue(self::eventually($follows));
        self::assertSame($before + 1, $this->sallyport()->status()->backend->peers);
    }

    public function test_refusals_name_the_field(): void
    {
        $routers = $this->sallyport()->routers();
        $router = $routers->create($this->tenant->id, new NewRouter('Utrecht'))->router;
        $cases = [
            [
                'public_key',
                fn () => $routers->create($this->tenant->id, new NewRouter('X', publicKey: $router->publicKey)),
                ConflictException::class,
            ],
            [
                'public_key',
                fn () => $routers->create($this->tenant->id, new NewRouter('X', publicKey: 'x')),
                ValidationException::class,
            ],
            [
                'lans.0',
                fn () => $routers->update($router->id, lans: ['192.168.88.1/24']),
                ValidationException::class,
            ],
            ['name', fn () => $routers->update($router->id, name: ' x'), ValidationException::class],
        ];
        foreach ($cases as [$field, $do, $class]) {
            try {
                $do();
                self::fail("{$field} was taken");
            } catch (ConflictException | ValidationException $refused) {
                self::assertSame($class, $refused::class);
                self::assertSame([$field], array_keys($refused->errors()));
                self::assertNotNull($refused->requestId);
            }
        }
        try {
            $routers->update($router->id, lans: ['192.168.88.1/24']);
        } catch (ValidationException $refused) {
            self::assertArrayHasKey('networks.0', $refused->forForm(['lans' => 'networks'])->errors());
        }
    }

    public function test_lost_answers_make_nothing_twice(): void
    {
        $lossy = new class (CurlTransport::overSocket(self::given('SOCKET'))) implements Transport {
            public int $lose = 0;

            public function __construct(private readonly Transport $real)
            {
            }

            public function send(Request $request): Response
            {
                $response = $this->real->send($request);

                return $this->lose-- > 0 ? throw new ConnectionException('the test', 'answer lost') : $response;
            }
        };
        $client = new Client($lossy, new RetryPolicy(sleep: static function (): void {
        }));
        $lossy->lose = 2;
        $made = $client->routers()->create($this->tenant->id, new NewRouter('Utrecht'));
        self::assertStringContainsString((string) $made->privateKey, $made->config);
        $lossy->lose = 1;
        $result = $client->routers()->createManyFor($this->tenant->id, [new NewRouter('A'), new NewRouter('B')]);
        self::assertTrue($result->allCreated());
        $lossy->lose = 1;
        $rotated = $client->routers()->rotate($made->router->id);
        self::assertSame($rotated->router->publicKey, $client->routers()->get($made->router->id)->publicKey);
        self::assertSame(['Utrecht', 'A', 'B'], $client->routers()->all($this->tenant->id)->pluck('name')->all());
        $lossy->lose = 1;
        $client->routers()->delete($made->router->id);
        self::assertNull($client->routers()->find($made->router->id));
    }

    public function test_bulk(): void
    {
        $routers = $this->sallyport()->routers();
        $wishes = array_map(
            static fn (int $i): NewRouter => new NewRouter("Router {$i}", publicKey: self::key()),
            range(1, 300),
        );
        $wishes[7] = new NewRouter('Twin', publicKey: $wishes[6]->publicKey);
        $result = $routers->createManyFor($this->tenant->id, $wishes, minimal: true);
        self::assertSame([300, 299], [$result->count(), $result->created()->count()]);
        self::assertSame('duplicate-public-key', $result->failed()->first()->problem->name());
        self::assertSame(7, $result->failed()->keys()->first());
        $names = $routers->all($this->tenant->id, perPage: 100)->pluck('name')->all();
        self::assertCount(299, $names);
        self::assertSame('Router 300', $routers->get($result->items()->last()->id())->name);
        $made = $this->sallyport()
            ->tenants()
            ->createMany([
                new NewTenant('One ' . Str::random(8), routers: [new NewRouter('A')]),
                new NewTenant(' two'),
            ]);
        self::assertSame('A', $made->items()[0]->router()->router->name);
        self::assertSame(['name'], array_keys($made->failed()->first()->problem->errors()));
        $this->sallyport()
            ->tenants()
            ->delete($made->items()[0]->tenant->id);
    }

    public function test_lists_filter_at_the_gateway(): void
    {
        $routers = $this->sallyport()->routers();
        $routers->create($this->tenant->id, new NewRouter('Utrecht'));
        $routers->disable($routers->create($this->tenant->id, new NewRouter('Delft'))->router->id);
        self::assertSame(
            ['Delft'],
            $routers->all($this->tenant->id, status: RouterStatus::Disabled)->pluck('name')->all(),
        );
        self::assertSame(['Utrecht'], $routers->all($this->tenant->id, contains: 'trech')->pluck('name')->all());
        self::assertSame([], $routers->all($this->tenant->id, connected: true)->all());
        self::assertCount(2, $routers->all($this->tenant->id, connected: false));
        self::assertContains(
            $this->tenant->id,
            $this->sallyport()
                ->tenants()
                ->all(addressing: Addressing::Private, status: TenantStatus::Active)
                ->pluck('id')
                ->all(),
        );
    }

    public function test_over_tcp_with_tokens(): void
    {
        $admin = self::overTcp(self::given('TOKEN'));
        self::assertSame($this->tenant->id, $admin->tenants()->get($this->tenant->id)->id);
        $other = $admin->tenants()->create(new NewTenant('Other ' . Str::random(8)));
        $token = $admin
            ->tokens()
            ->create('one tenant', TokenScope::TenantWrite, $this->tenant->id, CarbonImmutable::now()->addDay());
        self::assertTrue($token->token->expiresAt->isTomorrow() || $token->token->expiresAt->isToday());
        self::assertContains($token->token->id, $admin->tokens()->all()->pluck('id')->all());
        $tenant = self::overTcp($token->plainText);
        self::assertSame(
            'Utrecht',
            $tenant->routers()->create($this->tenant->id, new NewRouter('Utrecht'))->router->name,
        );
        self::assertSame([$this->tenant->id], $tenant->tenants()->all()->pluck('id')->all());
        self::assertNull($tenant->tenants()->find($other->id));
        $cases = [
            [AuthorizationException::class, fn () => $tenant->status()],
            [AuthorizationException::class, fn () => $tenant->tenants()->create(new NewTenant('x'))],
            [NotFoundException::class, fn () => $tenant->routers()->create($other->id, new NewRouter('x'))],
            [
                AuthenticationException::class,
                fn () => self::overTcp('sp_' . str_repeat('A', 43))
                    ->tenants()
                    ->all()
                    ->first(),
            ],
            [AuthenticationException::class, fn () => self::overTcp(null)->tenants()->all()->first()],
        ];
        foreach ($cases as [$class, $do]) {
            try {
                $do();
                self::fail($class);
            } catch (AuthorizationException | NotFoundException | AuthenticationException $refused) {
                self::assertSame($class, $refused::class);
            }
        }
        self::assertGreaterThan(0, $tenant->events()->latest());
        $admin->tokens()->revoke($token->token->id);
        $admin->tenants()->delete($other->id);
        $this->expectException(AuthenticationException::class);
        $tenant->tenants()->all()->first();
    }

    public function test_nobody_there(): void
    {
        $client = new Client(CurlTransport::overSocket('/run/sallyport/nobody.sock'), RetryPolicy::never());
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessage('/run/sallyport/nobody.sock');
        $client->health();
    }

    public function test_names_of_any_script_survive(): void
    {
        $name = "Zürich 東京 \"quoted\" \\ 😀";
        self::assertSame(
            $name,
            $this->sallyport()->routers()->create($this->tenant->id, new NewRouter($name))->router->name,
        );
        self::assertSame($name, $this->sallyport()->routers()->findByName($name, $this->tenant->id)->name);
    }

    public function test_a_question_for_events_stays_open_until_there_is_one(): void
    {
        $client = $this->sallyport();
        $after = $client->events()->latest();
        $began = microtime(true);
        self::assertSame([], $client->events()->after($after, wait: 1)->events);
        self::assertGreaterThan(0.9, microtime(true) - $began);
        $script = <<<'PHP'
            usleep(300000);
            $curl = curl_init("http://localhost/v1/tenants/{$argv[2]}/disable");
            curl_setopt_array($curl, [
                CURLOPT_UNIX_SOCKET_PATH => $argv[1],
                CURLOPT_CUSTOMREQUEST => 'POST',
                CURLOPT_RETURNTRANSFER => true,
            ]);
            curl_exec($curl);
            PHP;
        $process = proc_open(['php', '-r', $script, self::given('SOCKET'), $this->tenant->id], [], $pipes);
        $began = microtime(true);
        $page = $client->events()->after($after, wait: 20);
        self::assertLessThan(10, microtime(true) - $began);
        self::assertSame('tenant.disabled', $page->events[0]->kind);
        self::assertSame($this->tenant->id, $page->events[0]->tenantId);
        proc_close($process);
    }
}
