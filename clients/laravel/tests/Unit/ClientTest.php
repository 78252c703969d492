<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Exceptions\AuthenticationException;
use Sallyport\Laravel\Exceptions\AuthorizationException;
use Sallyport\Laravel\Exceptions\ConflictException;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\NotFoundException;
use Sallyport\Laravel\Exceptions\RequestException;
use Sallyport\Laravel\Exceptions\UnavailableException;
use Sallyport\Laravel\Exceptions\UnexpectedResponseException;
use Sallyport\Laravel\Exceptions\ValidationException;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\RetryPolicy;
use Sallyport\Laravel\Http\Transport;
use Sallyport\Laravel\Testing\InMemoryGateway;

final class ClientTest extends TestCase
{
    /** @var list<int> */
    private array $waits = [];

    public function test_a_create_carries_a_key_of_its_own_each_time(): void
    {
        $transport = new Scripted([Scripted::problem(409, 'x'), Scripted::problem(409, 'x')]);
        foreach ([1, 2] as $ignored) {
            try {
                $this->client($transport)->tenants()->create(new NewTenant('Acme'));
                self::fail();
            } catch (ConflictException) {
            }
        }
        $keys = array_map(
            static fn (Request $request): string => $request->headers['Idempotency-Key'],
            $transport->requests,
        );
        self::assertCount(2, array_unique($keys));
        self::assertMatchesRegularExpression('/^[0-9a-f-]{36}$/', $keys[0]);
    }

    public function test_a_retry_repeats_the_request_with_its_key(): void
    {
        $gateway = new InMemoryGateway();
        $tenant = $this->client($gateway)->tenants()->create(new NewTenant('Acme'));
        // the answer is lost twice on the way back
        $lossy = new class ($gateway) implements Transport {
            public int $calls = 0;

            public function __construct(private readonly InMemoryGateway $gateway)
            {
            }

            public function send(Request $request): Response
            {
                $response = $this->gateway->send($request);

                return ++$this->calls > 2 ? $response : throw new ConnectionException('x', 'reset');
            }
        };
        $made = $this->client($lossy)->routers()->create($tenant->id, new NewRouter('Branch'));
        self::assertSame(3, $lossy->calls);
        self::assertNotNull($made->privateKey);
        self::assertCount(1, $this->client($gateway)->routers()->all()->all());
    }

    public function test_it_waits_as_long_as_the_gateway_says(): void
    {
        $transport = new Scripted([
            Scripted::problem(503, 'store-locked', headers: ['retry-after' => '3']),
            Scripted::problem(429, 'slow-down', headers: ['retry-after' => '1']),
            Scripted::json(['counters' => ['udp_received' => 7]]),
        ]);
        self::assertSame(['udp_received' => 7], $this->client($transport)->counters());
        self::assertSame([3000, 1000], $this->waits);
    }

    public function test_waits_without_a_word_from_the_gateway_grow_and_are_bounded(): void
    {
        $transport = new Scripted(array_fill(0, 9, null));
        try {
            $this->client($transport, 9)->counters();
            self::fail();
        } catch (ConnectionException $error) {
            self::assertStringContainsString('/run/sallyport/api.sock', $error->getMessage());
            self::assertStringContainsString('mounted', $error->getMessage());
        }
        self::assertCount(9, $transport->requests);
        self::assertCount(8, $this->waits);
        foreach ($this->waits as $i => $wait) {
            self::assertGreaterThanOrEqual(min(100 * 2 ** $i, 5000), $wait);
            self::assertLessThanOrEqual(min(200 * 2 ** $i, 5000), $wait);
        }
    }

    public function test_a_wait_is_never_longer_than_configured(): void
    {
        $transport = new Scripted([
            Scripted::problem(503, 'x', headers: ['retry-after' => '3600']),
            Scripted::json(['counters' => []]),
        ]);
        $this->client($transport)->counters();
        self::assertSame([5000], $this->waits);
    }

    public function test_after_the_last_try_the_refusal_is_thrown(): void
    {
        $transport = new Scripted(
            array_fill(0, 4, Scripted::problem(503, 'data-plane-away', headers: ['retry-after' => '2'])),
        );
        try {
            $this->client($transport)->counters();
            self::fail();
        } catch (UnavailableException $error) {
            self::assertSame(2, $error->retryAfter);
            self::assertTrue($error->is('store-locked', 'data-plane-away'));
        }
        self::assertCount(4, $transport->requests);
    }

    /** @dataProvider refusals */
    public function test_refusals_have_their_classes_and_are_not_repeated(int $status, string $class): void
    {
        $transport = new Scripted([Scripted::problem($status, 'some-type')]);
        try {
            $this->client($transport)->tenants()->get('0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b');
            self::fail();
        } catch (RequestException $error) {
            self::assertSame($class, $error::class);
            self::assertSame(
                [$status, $status, 'some-type', 'r1'],
                [$error->status(), $error->getCode(), $error->type(), $error->requestId],
            );
        }
        self::assertSame([], $this->waits);
    }

    /** @return array<string, array{int, class-string}> */
    public static function refusals(): array
    {
        return [
            '400' => [400, RequestException::class],
            '401' => [401, AuthenticationException::class],
            '403' => [403, AuthorizationException::class],
            '404' => [404, NotFoundException::class],
            '409' => [409, ConflictException::class],
            '413' => [413, RequestException::class],
            '422' => [422, ValidationException::class],
            '500' => [500, RequestException::class],
        ];
    }

    public function test_a_refusal_names_the_field_as_laravel_does(): void
    {
        $transport = new Scripted([Scripted::problem(422, 'host-bits-set', ['field' => 'routers[3].lans[1]'])]);
        try {
            $this->client($transport)->counters();
            self::fail();
        } catch (ValidationException $error) {
            self::assertSame('routers[3].lans[1]', $error->field());
            self::assertSame(['routers.3.lans.1' => ['Because.']], $error->errors());
            self::assertSame('routers[3].lans[1]: Because.', $error->getMessage());
            self::assertSame('r1', $error->context()['request_id']);
        }
    }

    public function test_a_refusal_with_several_errors_has_them_all(): void
    {
        $errors = [
            ['field' => 'name', 'detail' => 'One.'],
            ['field' => 'lans[0]', 'detail' => 'Two.'],
            ['field' => 'name', 'detail' => 'Three.'],
        ];
        $transport = new Scripted([Scripted::problem(422, 'x', ['errors' => $errors])]);
        try {
            $this->client($transport)->counters();
            self::fail();
        } catch (ValidationException $error) {
            self::assertSame(['name' => ['One.', 'Three.'], 'lans.0' => ['Two.']], $error->errors());
        }
    }

    public function test_a_refusal_without_a_field_still_has_a_message(): void
    {
        $transport = new Scripted([Scripted::problem(409, 'pool-exhausted')]);
        try {
            $this->client($transport)->counters();
            self::fail();
        } catch (ConflictException $error) {
            self::assertSame(['sallyport' => ['Because.']], $error->errors());
            self::assertNull($error->field());
        }
    }

    /** @dataProvider strangers */
    public function test_the_answer_of_something_else_is_told_apart(Response $response): void
    {
        $this->expectException(UnexpectedResponseException::class);
        $this->client(new Scripted([$response]))->counters();
    }

    /** @return array<string, array{Response}> */
    public static function strangers(): array
    {
        return [
            'a proxy' => [new Response(502, ['content-type' => 'text/html'], '<h1>Bad Gateway</h1>')],
            'a page' => [new Response(200, ['content-type' => 'text/html'], '<h1>It works!</h1>')],
            'a number' => [new Response(200, ['content-type' => 'application/json'], '1')],
            'half of it' => [new Response(200, ['content-type' => 'application/json'], '{"counters":')],
        ];
    }

    public function test_a_removal_whose_answer_was_lost_is_a_removal(): void
    {
        $transport = new Scripted([null, Scripted::problem(404, 'not-found')]);
        $this->client($transport)->routers()->delete('0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b');
        self::assertCount(2, $transport->requests);
    }

    public function test_a_removal_of_what_is_not_there_is_refused(): void
    {
        $this->expectException(NotFoundException::class);
        $this->client(new Scripted([Scripted::problem(404, 'not-found')]))
            ->routers()
            ->delete('0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b');
    }

    public function test_an_unhealthy_gateway_is_told_not_thrown(): void
    {
        $body = ['status' => 'unavailable', 'version' => '1', 'store' => 'ok', 'backend' => 'unavailable'];
        $health = $this->client(new Scripted([Scripted::json($body, 503)]))->health();
        self::assertFalse($health->isOk());
        self::assertSame('unavailable', $health->backend);
        $body['status'] = 'degraded';
        self::assertTrue($this->client(new Scripted([Scripted::json($body)]))->health()->isDegraded());
        self::assertSame([], $this->waits);
    }

    public function test_lists_are_followed_lazily_from_cursor_to_cursor(): void
    {
        $gateway = new InMemoryGateway();
        $client = $this->client($gateway);
        foreach (range(1, 5) as $i) {
            $client->tenants()->create(new NewTenant("Tenant {$i}"));
        }
        $counting = new class ($gateway) implements Transport {
            public int $calls = 0;

            public function __construct(private readonly InMemoryGateway $gateway)
            {
            }

            public function send(Request $request): Response
            {
                $this->calls++;

                return $this->gateway->send($request);
            }
        };
        $list = $this->client($counting)->tenants()->all(perPage: 2);
        self::assertSame(0, $counting->calls);
        self::assertSame(['Tenant 1', 'Tenant 2', 'Tenant 3'], $list->take(3)->pluck('name')->values()->all());
        self::assertSame(2, $counting->calls);
        self::assertCount(5, $list);
    }

    public function test_a_bulk_request_is_cut_where_it_must_be_and_keeps_its_order(): void
    {
        $gateway = new InMemoryGateway();
        $client = $this->client($gateway);
        $tenant = $client->tenants()->create(new NewTenant('Acme'));
        $wishes = (static function (): \Generator {
            foreach (range(1, 2500) as $i) {
                yield new NewRouter(
                    $i === 2400 ? ' bad' : "Router {$i}",
                    publicKey: base64_encode(str_pad((string) $i, 32, "\0")),
                );
            }
        })();
        $result = $client->routers()->createManyFor($tenant->id, $wishes, minimal: true);
        self::assertCount(2500, $result);
        self::assertCount(2499, $result->created());
        self::assertSame([2399], $result->failed()->keys()->all());
        self::assertSame('bad-name', $result->failed()->first()->problem->name());
        self::assertSame('Router 2500', $client->routers()->get($result->items()->last()->id())->name);
        $this->expectException(ValidationException::class);
        $result->throw();
    }

    public function test_booleans_and_keys_travel_as_the_gateway_reads_them(): void
    {
        $transport = new Scripted([Scripted::json(['items' => [], 'next_cursor' => null])]);
        $this->client($transport)->routers()->all(connected: false, publicKey: 'a+/b=')->all();
        self::assertSame(
            '/v1/routers?connected=false&public_key=a%2B%2Fb%3D&limit=500',
            $transport->requests[0]->target(),
        );
    }

    public function test_an_empty_body_is_an_object(): void
    {
        $transport = new Scripted([Scripted::problem(404, 'not-found')]);
        try {
            $this->client($transport)->routers()->rotate('0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b');
        } catch (NotFoundException) {
        }
        self::assertSame('{}', $transport->requests[0]->content());
    }

    public function test_an_id_cannot_leave_its_place_in_the_path(): void
    {
        $transport = new Scripted([Scripted::problem(404, 'not-found')]);
        self::assertNull($this->client($transport)->routers()->find('../tenants?x'));
        self::assertSame('/v1/routers/..%2Ftenants%3Fx', $transport->requests[0]->path);
    }

    private function client(Transport $transport, int $times = 4): Client
    {
        return new Client(
            $transport,
            new RetryPolicy($times, 200, 5000, function (int $milliseconds): void {
                $this->waits[] = $milliseconds;
            }),
        );
    }
}
