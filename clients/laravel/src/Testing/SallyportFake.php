<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

use Closure;
use Illuminate\Support\Collection;
use PHPUnit\Framework\Assert as PHPUnit;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\RetryPolicy;

/**
 * What Sallyport::fake() gives. Make what a test needs with tenant() and router(), let routers dial in with connect(),
 * let the gateway refuse or vanish, and assert afterwards what the application did. Assertions count what succeeded.
 */
final class SallyportFake extends Client
{
    private readonly InMemoryGateway $gateway;
    private readonly RecordingTransport $transport;

    public function __construct(?RetryPolicy $retries = null)
    {
        $this->gateway = new InMemoryGateway();
        $this->transport = new RecordingTransport($this->gateway);
        parent::__construct($this->transport, $retries ?? new RetryPolicy(sleep: static function (): void {
        }));
    }

    /** A tenant that is there before the test begins; no assertion counts it. */
    public function tenant(?NewTenant $tenant = null): Tenant
    {
        return $this->unseen(fn (): Tenant => $this->tenants()->create($tenant ?? new NewTenant('Acme')));
    }

    /** A router that is there before the test begins; no assertion counts it. */
    public function router(Tenant|string|null $tenant = null, ?NewRouter $router = null): Router
    {
        $tenantId = $tenant instanceof Tenant ? $tenant->id : $tenant ?? $this->tenant()->id;

        return $this->unseen(
            fn (): Router => $this->routers()->create($tenantId, $router ?? new NewRouter('Branch'))->router,
        );
    }

    /** A router shakes hands. */
    public function connect(Router|string $router, string $endpoint = '198.51.100.7:51820'): self
    {
        $this->gateway->connect($router instanceof Router ? $router->id : $router, $endpoint);

        return $this;
    }

    /**
     * The next requests of this kind are refused.
     *
     * @param  string  $path  such as "/v1/routers/*"
     */
    public function refuse(
        string $method,
        string $path,
        int $status = 409,
        string $type = 'refused',
        string $detail = 'Refused by the test.',
        ?string $field = null,
        int $times = 1,
    ): self {
        $this->transport->refusals[] = [
            'method' => strtoupper($method),
            'path' => $path,
            'refusal' => new Refusal($status, $type, $detail, $field),
            'times' => $times,
        ];

        return $this;
    }

    /**
     * The next requests get no answer.
     *
     * @param  bool  $carriedOut  they are lost on the way back: what they asked for is done
     */
    public function vanish(int $requests = PHP_INT_MAX, bool $carriedOut = false): self
    {
        $this->transport->lost = $requests;
        $this->transport->lostAfterwards = $carriedOut;

        return $this;
    }

    public function comeBack(): self
    {
        $this->transport->lost = 0;

        return $this;
    }

    /** The gateway no longer keeps its oldest changes, as one that has run for long. */
    public function forgetEvents(int $upTo): self
    {
        $this->gateway->forgetEvents($upTo);

        return $this;
    }

    /** @return Collection<int, Request>  all that arrived, as often as it arrived */
    public function sent(?string $method = null, string $path = '*'): Collection
    {
        return $this->arrived()
            ->map(static fn (array $exchange): Request => $exchange[0])
            ->filter(
                static fn (Request $request): bool => ($method === null || $request->method === strtoupper($method)) &&
                    fnmatch($path, $request->path),
            )
            ->values();
    }

    /** @return Collection<int, array{Request, Response}> */
    public function arrived(): Collection
    {
        return new Collection($this->transport->exchanges);
    }

    /** @param  string|Closure(Tenant): bool|null  $which  its name or id, or what must hold for it */
    public function assertTenantCreated(string|Closure|null $which = null): self
    {
        PHPUnit::assertTrue(
            $this->matching($this->madeTenants(), $which)->isNotEmpty(),
            'No such tenant was made' . $this->among($this->madeTenants()),
        );

        return $this;
    }

    public function assertTenantRemoved(Tenant|string $tenant): self
    {
        return $this->assertDone('DELETE', '/v1/tenants/' . self::id($tenant), 'The tenant was not removed.');
    }

    public function assertTenantDisabled(Tenant|string $tenant): self
    {
        return $this->assertDone(
            'POST',
            '/v1/tenants/' . self::id($tenant) . '/disable',
            'The tenant was not disabled.',
        );
    }

    public function assertTenantEnabled(Tenant|string $tenant): self
    {
        return $this->assertDone('POST', '/v1/tenants/' . self::id($tenant) . '/enable', 'The tenant was not enabled.');
    }

    /** @param  string|Closure(Router): bool|null  $which  its name, id or public key, or what must hold for it */
    public function assertRouterAdded(string|Closure|null $which = null): self
    {
        PHPUnit::assertTrue(
            $this->matching($this->madeRouters(), $which)->isNotEmpty(),
            'No such router was added' . $this->among($this->madeRouters()),
        );

        return $this;
    }

    /** @param  string|Closure(Router): bool|null  $which */
    public function assertRouterNotAdded(string|Closure|null $which = null): self
    {
        PHPUnit::assertTrue(
            $this->matching($this->madeRouters(), $which)->isEmpty(),
            'Such a router was added' . $this->among($this->madeRouters()),
        );

        return $this;
    }

    public function assertRoutersAdded(int $count): self
    {
        PHPUnit::assertCount(
            $count,
            $this->madeRouters(),
            'So many routers were added' . $this->among($this->madeRouters()),
        );

        return $this;
    }

    public function assertRouterRemoved(Router|string $router): self
    {
        return $this->assertDone('DELETE', '/v1/routers/' . self::id($router), 'The router was not removed.');
    }

    public function assertRouterRotated(Router|string $router): self
    {
        return $this->assertDone('POST', '/v1/routers/' . self::id($router) . '/rotate', 'The router has no new keys.');
    }

    public function assertRouterDisabled(Router|string $router): self
    {
        return $this->assertDone(
            'POST',
            '/v1/routers/' . self::id($router) . '/disable',
            'The router was not disabled.',
        );
    }

    public function assertRouterEnabled(Router|string $router): self
    {
        return $this->assertDone('POST', '/v1/routers/' . self::id($router) . '/enable', 'The router was not enabled.');
    }

    /** Nothing was asked at all. */
    public function assertNothingSent(): self
    {
        PHPUnit::assertEmpty(
            $this->transport->exchanges,
            'Requests were sent: ' .
                $this->sent()
                    ->map(static fn (Request $request): string => "{$request->method} {$request->path}")
                    ->implode(', '),
        );

        return $this;
    }

    /** Nothing was asked that changes something, whether or not it succeeded. */
    public function assertNothingChanged(): self
    {
        $changes = $this->sent()->reject(static fn (Request $request): bool => $request->method === 'GET');
        PHPUnit::assertEmpty(
            $changes->all(),
            'Changes were asked for: ' .
                $changes
                    ->map(static fn (Request $request): string => "{$request->method} {$request->path}")
                    ->implode(', '),
        );

        return $this;
    }

    private function assertDone(string $method, string $path, string $message): self
    {
        PHPUnit::assertTrue(
            $this->arrived()->contains(
                static fn (array $exchange): bool => $exchange[0]->method === $method &&
                    $exchange[0]->path === $path &&
                    $exchange[1]->successful(),
            ),
            $message,
        );

        return $this;
    }

    /** @return Collection<int, Tenant> */
    private function madeTenants(): Collection
    {
        return $this->made('#^/v1/tenants$#')
            ->map(static fn (array $tenant): Tenant => new Tenant($tenant))
            ->concat(
                $this->items()
                    ->pluck('tenant')
                    ->filter()
                    ->map(static fn (array $tenant): Tenant => new Tenant($tenant)),
            )
            ->concat(
                $this->minimal('tenants')
                    ->map(fn (string $id): ?Tenant => $this->unseen(fn (): ?Tenant => $this->tenants()->find($id)))
                    ->filter(),
            )
            ->values();
    }

    /** @return Collection<int, Router> */
    private function madeRouters(): Collection
    {
        return $this->made('#^/v1/tenants/[^/]+/routers$#')
            ->concat($this->items()->pluck('router')->filter())
            ->concat($this->items()->pluck('routers')->filter()->flatten(1))
            ->map(static function (array $router): Router {
                unset($router['private_key'], $router['config']);

                return new Router($router);
            })
            ->concat(
                $this->minimal('routers')
                    ->map(fn (string $id): ?Router => $this->unseen(fn (): ?Router => $this->routers()->find($id)))
                    ->filter(),
            )
            ->values();
    }

    /** @return Collection<int, array<string, mixed>>  answers to what made one thing; a replayed one made nothing */
    private function made(string $path): Collection
    {
        return $this->arrived()
            ->filter(
                static fn (array $exchange): bool => $exchange[0]->method === 'POST' &&
                    $exchange[1]->status === 201 &&
                    $exchange[1]->header('Idempotency-Replayed') === null &&
                    preg_match($path, $exchange[0]->path) === 1,
            )
            ->map(static fn (array $exchange): array => $exchange[1]->json())
            ->values();
    }

    /** @return Collection<int, array<string, mixed>>  of bulk answers, those that were made */
    private function items(): Collection
    {
        return $this->arrived()
            ->filter(
                static fn (array $exchange): bool => str_ends_with($exchange[0]->path, '/bulk') &&
                    $exchange[1]->successful() &&
                    $exchange[1]->header('Idempotency-Replayed') === null,
            )
            ->flatMap(static fn (array $exchange): array => $exchange[1]->json()['items'])
            ->filter(static fn (array $item): bool => $item['status'] === 201)
            ->values();
    }

    /** @return Collection<int, string>  ids in minimal answers */
    private function minimal(string $what): Collection
    {
        return $this->items()->filter(static fn (array $item): bool => isset($item['id']))->flatMap(
            static fn (array $item): array => match (true) {
                isset($item['router_ids']) => $what === 'tenants' ? [$item['id']] : $item['router_ids'],
                default => $what === 'routers' ? [$item['id']] : [],
            },
        );
    }

    private function matching(Collection $made, string|Closure|null $which): Collection
    {
        return match (true) {
            $which === null => $made,
            is_string($which) => $made->filter(
                static fn (Tenant|Router $each): bool => in_array(
                    $which,
                    [$each->id, $each->name, $each->publicKey ?? null],
                    true,
                ),
            ),
            default => $made->filter($which),
        };
    }

    private function among(Collection $made): string
    {
        return $made->isEmpty() ? '; none was.' : ', only: ' . $made->pluck('name')->implode(', ') . '.';
    }

    private function unseen(Closure $do): mixed
    {
        $this->transport->recording = false;
        try {
            return $do();
        } finally {
            $this->transport->recording = true;
        }
    }

    private static function id(Tenant|Router|string $which): string
    {
        return is_string($which) ? $which : $which->id;
    }
}
