<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Closure;
use Generator;
use PHPUnit\Framework\AssertionFailedError;
use ReflectionClass;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Enums\TokenScope;
use Sallyport\Laravel\Exceptions\BulkInterruptedException;
use Sallyport\Laravel\Exceptions\ConflictException;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\NotFoundException;
use Sallyport\Laravel\Exceptions\ValidationException;
use Sallyport\Laravel\Facades\Sallyport;
use Sallyport\Laravel\Resources\Events;
use Sallyport\Laravel\Resources\Routers;
use Sallyport\Laravel\Resources\Tenants;
use Sallyport\Laravel\Resources\Tokens;
use Sallyport\Laravel\Tests\TestCase;

final class FakeTest extends TestCase
{
    public function test_it_takes_the_real_ones_place_everywhere(): void
    {
        $fake = Sallyport::fake();
        self::assertSame($fake, $this->app->make(Client::class));
        self::assertSame($fake, Sallyport::getFacadeRoot());
        self::assertTrue(Sallyport::health()->isOk());
    }

    public function test_what_the_application_added_is_asserted(): void
    {
        $fake = Sallyport::fake();
        $tenant = $fake->tenant();
        $fake->router($tenant);
        $fake->assertNothingSent()->assertRoutersAdded(0);
        $made = Sallyport::routers()->create($tenant->id, new NewRouter('Utrecht', lans: ['192.168.88.0/24']));
        $fake
            ->assertRouterAdded()
            ->assertRouterAdded('Utrecht')
            ->assertRouterAdded($made->router->id)
            ->assertRouterAdded($made->router->publicKey)
            ->assertRouterAdded(static fn (Router $router): bool => $router->lans === ['192.168.88.0/24'])
            ->assertRouterNotAdded('Delft')
            ->assertRoutersAdded(1);
    }

    /** @dataProvider wrongs */
    public function test_assertions_fail_when_they_should(Closure $assertion): void
    {
        $fake = Sallyport::fake();
        $tenant = $fake->tenant();
        Sallyport::routers()->create($tenant->id, new NewRouter('Utrecht'));
        $this->expectException(AssertionFailedError::class);
        $assertion($fake, $tenant);
    }

    /** @return array<string, array{Closure}> */
    public static function wrongs(): array
    {
        return [
            'another name' => [static fn ($fake) => $fake->assertRouterAdded('Delft')],
            'another number' => [static fn ($fake) => $fake->assertRoutersAdded(2)],
            'added after all' => [static fn ($fake) => $fake->assertRouterNotAdded('Utrecht')],
            'not removed' => [static fn ($fake) => $fake->assertRouterRemoved($fake->router())],
            'not rotated' => [static fn ($fake) => $fake->assertRouterRotated($fake->router())],
            'not disabled' => [static fn ($fake) => $fake->assertRouterDisabled($fake->router())],
            'not enabled' => [static fn ($fake) => $fake->assertRouterEnabled($fake->router())],
            'no tenant made' => [static fn ($fake) => $fake->assertTenantCreated()],
            'tenant not removed' => [static fn ($fake, $tenant) => $fake->assertTenantRemoved($tenant)],
            'tenant not disabled' => [static fn ($fake, $tenant) => $fake->assertTenantDisabled($tenant)],
            'tenant not enabled' => [static fn ($fake, $tenant) => $fake->assertTenantEnabled($tenant)],
            'something sent' => [static fn ($fake) => $fake->assertNothingSent()],
            'something changed' => [static fn ($fake) => $fake->assertNothingChanged()],
        ];
    }

    public function test_every_change_has_its_assertion(): void
    {
        $fake = Sallyport::fake();
        $tenant = Sallyport::tenants()->create(new NewTenant('Acme', addressing: Addressing::Private));
        $router = $fake->router($tenant);
        Sallyport::routers()->disable($router->id);
        Sallyport::routers()->enable($router->id);
        Sallyport::routers()->rotate($router->id);
        Sallyport::routers()->delete($router->id);
        Sallyport::tenants()->disable($tenant->id);
        Sallyport::tenants()->enable($tenant->id);
        Sallyport::tenants()->delete($tenant->id);
        $fake
            ->assertTenantCreated('Acme')
            ->assertTenantCreated(static fn ($made): bool => $made->subnet === '10.100.0.0/16')
            ->assertRouterDisabled($router)
            ->assertRouterEnabled($router)
            ->assertRouterRotated($router)
            ->assertRouterRemoved($router)
            ->assertTenantDisabled($tenant)
            ->assertTenantEnabled($tenant)
            ->assertTenantRemoved($tenant);
    }

    public function test_bulk_counts_too(): void
    {
        $fake = Sallyport::fake();
        $key = base64_encode(str_repeat("\1", 32));
        $result = Sallyport::tenants()->createMany([
            new NewTenant('One', routers: [new NewRouter('A'), new NewRouter('B')]),
            new NewTenant('Two', routers: [new NewRouter(' bad')]),
        ]);
        self::assertSame([true, false], $result->items()->map(static fn ($item): bool => $item->created())->all());
        self::assertSame(
            ['name' => ['A name has 1 to 128 bytes, without space at either end.']],
            $result->failed()->first()->problem->errors(),
        );
        self::assertNotNull($result->created()->first()->routers[1]->privateKey);
        Sallyport::routers()->createMany(
            [new NewRouter('C', publicKey: $key, tenantId: $result->items()[0]->id())],
            minimal: true,
        );
        $fake->assertTenantCreated('One')->assertRoutersAdded(3)->assertRouterAdded('C');
        self::assertCount(1, Sallyport::tenants()->all());
    }

    public function test_a_bulk_call_that_breaks_off_keeps_what_was_made_and_can_go_on(): void
    {
        $fake = Sallyport::fake();
        $tenant = $fake->tenant();
        $wishes = array_map(static fn (int $i): NewRouter => new NewRouter("Router {$i}"), range(1, 2001));
        // when the last one has been taken, the first request has been answered and the second has not been sent
        $taken = (static function () use ($wishes, $fake): Generator {
            yield from $wishes;
            $fake->vanish();
        })();
        try {
            Sallyport::routers()->createManyFor($tenant->id, $taken);
            self::fail('It was answered.');
        } catch (BulkInterruptedException $broken) {
            self::assertCount(2000, $broken->result);
            self::assertInstanceOf(ConnectionException::class, $broken->getPrevious());
        }
        $fake->comeBack();
        $result = Sallyport::routers()->createManyFor($tenant->id, $wishes, idempotencyKey: $broken->idempotencyKey);
        self::assertTrue($result->allCreated());
        self::assertSame($broken->result->items()[0]->router()->privateKey, $result->items()[0]->router()->privateKey);
        $fake->assertRoutersAdded(2001);
    }

    public function test_a_lost_answer_makes_nothing_twice(): void
    {
        $fake = Sallyport::fake();
        $tenant = $fake->tenant();
        $fake->vanish(2, carriedOut: true);
        $made = Sallyport::routers()->create($tenant->id, new NewRouter('Utrecht'));
        self::assertSame($made->router->id, Sallyport::routers()->all()->first()->id);
        $fake->assertRoutersAdded(1);
        self::assertCount(3, $fake->sent('POST'));
    }

    public function test_it_refuses_as_the_gateway_does(): void
    {
        $fake = Sallyport::fake();
        $router = $fake->router();
        $cases = [
            [
                ConflictException::class,
                'duplicate-public-key',
                fn () => Sallyport::routers()->create(
                    $router->tenantId,
                    new NewRouter('X', publicKey: $router->publicKey),
                ),
            ],
            [
                ConflictException::class,
                'duplicate-id',
                fn () => Sallyport::routers()->create($router->tenantId, new NewRouter('X', id: $router->id)),
            ],
            [
                ConflictException::class,
                'duplicate-address',
                fn () => Sallyport::routers()->create(
                    $router->tenantId,
                    new NewRouter('X', address: $router->address),
                ),
            ],
            [
                ValidationException::class,
                'invalid-key',
                fn () => Sallyport::routers()->create($router->tenantId, new NewRouter('X', publicKey: 'abc')),
            ],
            [
                ValidationException::class,
                'invalid-prefix',
                fn () => Sallyport::routers()->update($router->id, lans: ['everything']),
            ],
            [
                NotFoundException::class,
                'router-not-found',
                fn () => Sallyport::routers()->get('0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b'),
            ],
        ];
        foreach ($cases as [$class, $type, $do]) {
            try {
                $do();
                self::fail("{$type} was not refused");
            } catch (ConflictException | ValidationException | NotFoundException $refused) {
                self::assertSame([$class, $type], [$refused::class, $refused->type()]);
            }
        }
    }

    public function test_it_answers_whatever_the_client_can_ask(): void
    {
        $root = dirname(__DIR__, 4);
        $paths = array_keys(Sallyport::fake()->document()['paths']);
        $asked = [];
        foreach ([Client::class, Events::class, Routers::class, Tenants::class, Tokens::class] as $class) {
            $source = (string) file_get_contents((string) (new ReflectionClass($class))->getFileName());
            preg_match_all("#'(/v1/[a-z.]+)#", $source, $found);
            array_push($asked, ...$found[1]);
        }
        self::assertSame([], array_diff($asked, $paths, ['/v1/routers/', '/v1/tenants/', '/v1/tokens/']));
        if (!is_file("{$root}/src/api/openapi.json")) {
            self::markTestSkipped('The gateway\'s sources are not at hand.');
        }
        $document = json_decode((string) file_get_contents("{$root}/src/api/openapi.json"), true);
        $known = array_map(
            static fn (string $path): string => (string) preg_replace('/\{\w+\}/', '{id}', $path),
            array_keys($document['paths']),
        );
        // what only the command line does
        self::assertEqualsCanonicalizing(['/v1/adoption', '/v1/audit', '/v1/export'], array_diff($known, $paths));
        self::assertSame([], array_diff($paths, $known));
    }

    public function test_a_test_can_make_it_refuse_and_vanish(): void
    {
        $fake = Sallyport::fake()->refuse('post', '/v1/tenants', 409, 'pool-exhausted', 'The pool is used up.');
        try {
            Sallyport::tenants()->create(new NewTenant('Acme'));
            self::fail();
        } catch (ConflictException $refused) {
            self::assertSame('The pool is used up.', $refused->getMessage());
        }
        Sallyport::tenants()->create(new NewTenant('Acme'));
        $fake->vanish();
        try {
            Sallyport::health();
            self::fail();
        } catch (ConnectionException) {
        }
        $fake->comeBack();
        self::assertTrue(Sallyport::health()->isOk());
    }

    public function test_a_router_can_dial_in(): void
    {
        $fake = Sallyport::fake();
        $router = $fake->router();
        self::assertSame(RouterStatus::Pending, $router->status);
        $fake->connect($router);
        $router = Sallyport::routers()->get($router->id);
        self::assertTrue($router->connected);
        self::assertSame(RouterStatus::Active, $router->status);
        self::assertSame(1, Sallyport::tenants()->get($router->tenantId)->connectedRouters);
        self::assertCount(1, Sallyport::routers()->all(connected: true));
    }

    public function test_lists_filter(): void
    {
        $fake = Sallyport::fake();
        $router = $fake->router(null, new NewRouter('Utrecht'));
        $fake->router($router->tenantId, new NewRouter('Delft'));
        self::assertSame($router->id, Sallyport::routers()->findByName('Utrecht')->id);
        self::assertSame($router->id, Sallyport::routers()->findByPublicKey($router->publicKey)->id);
        self::assertNull(Sallyport::routers()->findByName('Utrecht', $fake->tenant()->id));
        self::assertSame(['Delft'], Sallyport::routers()->all(contains: 'elf')->pluck('name')->all());
        self::assertSame($router->tenantId, Sallyport::tenants()->findByName('Acme')->id);
    }

    /** The exchanges of the fake, held to the gateway's own document by the same program that holds the gateway to it. */
    public function test_it_answers_as_the_document_says(): void
    {
        $root = dirname(__DIR__, 4);
        if (!is_dir("{$root}/tests/contract/node_modules/ajv")) {
            self::markTestSkipped('The validator is not installed (the suite "contract" does).');
        }
        $this->test_every_change_has_its_assertion();
        $this->exercise();
        $exchanges = Sallyport::getFacadeRoot()->arrived();
        $file = $this->folder() . '/traffic.jsonl';
        file_put_contents(
            $file,
            $exchanges
                ->map(
                    static fn (array $exchange): string => json_encode([
                        'method' => $exchange[0]->method,
                        'target' => $exchange[0]->target(),
                        'status' => $exchange[1]->status,
                        'meant_wrong' => false,
                        'headers' => $exchange[1]->headers,
                        'request' => $exchange[0]->content(),
                        'content' => $exchange[1]->body,
                    ]),
                )
                ->implode("\n"),
        );
        exec(
            'node ' .
                escapeshellarg("{$root}/tests/contract/traffic.mjs") .
                ' ' .
                escapeshellarg("{$root}/src/api/openapi.json") .
                ' ' .
                escapeshellarg($file),
            $output,
            $status,
        );
        self::assertSame(0, $status);
        $found = json_decode(implode('', $output), true);
        self::assertSame([], $found['wrong']);
        self::assertGreaterThan(20, $found['exchanges']);
    }

    private function exercise(): void
    {
        $tenant = Sallyport::tenants()->create(new NewTenant('Beta'));
        Sallyport::tenants()->update($tenant->id, name: 'Gamma', egress: true);
        $made = Sallyport::routers()->create($tenant->id, new NewRouter('A', presharedKey: NewRouter::GENERATE));
        Sallyport::routers()->update($made->router->id, lans: ['192.168.1.0/24']);
        Sallyport::routers()->config($made->router->id);
        Sallyport::routers()->createManyFor($tenant->id, [
            new NewRouter('B'),
            new NewRouter('C', publicKey: $made->router->publicKey),
        ]);
        Sallyport::routers()->createMany([new NewRouter('D', tenantId: $tenant->id)]);
        Sallyport::tenants()->createMany([new NewTenant('E', routers: [new NewRouter('F')])]);
        Sallyport::tenants()->all()->all();
        Sallyport::routers()->all()->all();
        Sallyport::routers()->all($tenant->id)->all();
        Sallyport::events()->after(0);
        $token = Sallyport::tokens()->create('billing', TokenScope::Metrics);
        Sallyport::tokens()->all();
        Sallyport::tokens()->revoke($token->token->id);
        Sallyport::health();
        Sallyport::counters();
        Sallyport::gateways();
        Sallyport::status();
        try {
            Sallyport::routers()->get($tenant->id);
        } catch (NotFoundException) {
        }
    }
}
