<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

use Carbon\CarbonImmutable;
use Illuminate\Support\Str;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\Transport;

/**
 * A gateway without a tunnel: it keeps tenants and routers in memory and answers as sallyportd does. It knows the rules
 * that an application meets (ids, names and keys, what exists and what does not); addresses are given out in order.
 */
final class InMemoryGateway implements Transport
{
    use AnswersInMemory;

    /** Items of one bulk request. */
    private const BULK_MAX = 10000;

    /** Routers and LANs that one tenant of a bulk request comes with. */
    private const ITEM_MAX = 2000;

    private const ROUTES = [
        ['GET', '/v1/health', 'health'],
        ['GET', '/v1/openapi.json', 'document'],
        ['GET', '/v1/status', 'status'],
        ['GET', '/v1/counters', 'counters'],
        ['GET', '/v1/gateways', 'gateways'],
        ['GET', '/v1/events', 'events'],
        ['POST', '/v1/tenants/bulk', 'bulkTenants'],
        ['POST', '/v1/tenants', 'createTenant'],
        ['GET', '/v1/tenants', 'listTenants'],
        ['GET', '/v1/tenants/{id}', 'getTenant'],
        ['PATCH', '/v1/tenants/{id}', 'patchTenant'],
        ['DELETE', '/v1/tenants/{id}', 'deleteTenant'],
        ['POST', '/v1/tenants/{id}/disable', 'disableTenant'],
        ['POST', '/v1/tenants/{id}/enable', 'enableTenant'],
        ['POST', '/v1/tenants/{id}/routers/bulk', 'bulkRouters'],
        ['POST', '/v1/tenants/{id}/routers', 'createRouter'],
        ['GET', '/v1/tenants/{id}/routers', 'listRoutersOfTenant'],
        ['POST', '/v1/routers/bulk', 'bulkRouters'],
        ['GET', '/v1/routers', 'listRouters'],
        ['GET', '/v1/routers/{id}', 'getRouter'],
        ['PATCH', '/v1/routers/{id}', 'patchRouter'],
        ['DELETE', '/v1/routers/{id}', 'deleteRouter'],
        ['POST', '/v1/routers/{id}/disable', 'disableRouter'],
        ['POST', '/v1/routers/{id}/enable', 'enableRouter'],
        ['POST', '/v1/routers/{id}/rotate', 'rotateRouter'],
        ['GET', '/v1/routers/{id}/config', 'routerConfig'],
        ['POST', '/v1/tokens', 'createToken'],
        ['GET', '/v1/tokens', 'listTokens'],
        ['DELETE', '/v1/tokens/{id}', 'revokeToken'],
    ];

    /** @var array<string, array<string, mixed>>  by id, in order of creation */
    private array $tenants = [];

    /** @var array<string, array<string, mixed>> */
    private array $routers = [];

    /** @var array<string, array<string, mixed>> */
    private array $tokens = [];

    /** @var list<array<string, mixed>> */
    private array $events = [];

    /** @var array<string, array{string, Response}>  the request and its answer, by Idempotency-Key */
    private array $answers = [];

    private readonly string $publicKey;
    private int $revision = 0;
    private int $blocks = 0;
    private int $hubAddresses = 1;

    public function __construct()
    {
        $this->publicKey = Keys::pair()[1];
    }

    public function send(Request $request): Response
    {
        $headers = ['x-request-id' => (string) Str::uuid()];
        $key = $request->headers['Idempotency-Key'] ?? null;
        $meant = "{$request->method} {$request->target()}\n{$request->content()}";
        try {
            if ($key !== null) {
                Rules::idempotencyKey($key);
            }
            if ($key !== null && isset($this->answers[$key])) {
                [$before, $response] = $this->answers[$key];

                return $before === $meant
                    ? new Response(
                        $response->status,
                        ['idempotency-replayed' => 'true'] + $response->headers,
                        $response->body,
                    )
                    : throw new Refusal(
                        422,
                        'idempotency-key-reused',
                        'Another request had this key.',
                        'Idempotency-Key',
                    );
            }
            [$status, $body, $more] = $this->handle($request);
        } catch (Refusal $refusal) {
            return $refusal->response($headers);
        }
        $text = is_string($body);
        $response = new Response(
            $status,
            $more +
                $headers +
                ($body === null ? [] : ['content-type' => $text ? 'text/plain; charset=utf-8' : 'application/json']),
            match (true) {
                $body === null => '',
                $text => $body,
                default => json_encode($body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE),
            },
        );
        if ($key !== null) {
            $this->answers[$key] = [$meant, $response];
        }

        return $response;
    }

    /** A router shakes hands, as if its device had dialled in. */
    public function connect(string $routerId, string $endpoint = '198.51.100.7:51820'): void
    {
        $router = $this->known($this->routers, $routerId, 'router');
        if ($router['status'] === 'pending') {
            $router['status'] = 'active';
            $this->note('router.activated', $router['tenant_id'], $routerId);
        } elseif (!self::isConnected($router)) {
            $this->note('router.connected', $router['tenant_id'], $routerId);
        }
        $this->routers[$routerId] = ['last_handshake_at' => self::now(), 'endpoint' => $endpoint] + $router;
    }

    public function forgetEvents(int $upTo): void
    {
        $this->events = array_values(
            array_filter($this->events, static fn (array $event): bool => $event['revision'] > $upTo),
        );
    }

    /** @return array{int, array<string, mixed>|string|null, array<string, string>} */
    private function handle(Request $request): array
    {
        $allowed = false;
        foreach (self::ROUTES as [$method, $pattern, $handler]) {
            $regex = '#^' . str_replace('{id}', '([0-9A-Fa-f-]{36})', $pattern) . '$#';
            if (preg_match($regex, $request->path, $found) !== 1) {
                continue;
            }
            $allowed = true;
            if ($method === $request->method) {
                Rules::query(self::given($request), $handler);
                $answer = $this->{$handler}($request, strtolower($found[1] ?? ''));

                return [$answer[0], $answer[1] ?? null, $answer[2] ?? []];
            }
        }
        throw $allowed
            ? new Refusal(405, 'method-not-allowed', "There is no {$request->method} here.")
            : new Refusal(404, 'not-found', "There is nothing at {$request->path}.");
    }

    private function health(): array
    {
        return [200, ['status' => 'ok', 'version' => 'fake', 'store' => 'ok', 'backend' => 'ok']];
    }

    /** As much of the document as the routes tell. */
    private function document(): array
    {
        $paths = [];
        foreach (self::ROUTES as [$method, $path, $handler]) {
            $paths[$path][strtolower($method)] = ['operationId' => $handler];
        }

        return [
            200,
            ['openapi' => '3.1.0', 'info' => ['title' => 'Sallyport', 'version' => 'fake'], 'paths' => $paths],
        ];
    }

    private function gateways(): array
    {
        return [
            200,
            [
                'items' => [
                    [
                        'name' => 'fake',
                        'self' => true,
                        'alive' => true,
                        'endpoint' => 'vpn.example.com',
                        'region' => '',
                        'version' => 'fake',
                        'backend' => 'fake',
                        'revision' => $this->revision,
                        'connected_routers' => count(array_filter($this->routers, self::isConnected(...))),
                        'load_percent' => 0,
                        'clock_offset_ms' => 0,
                        'started_at' => self::now(),
                        'heartbeat_at' => self::now(),
                    ],
                ],
            ],
        ];
    }

    private function counters(): array
    {
        return [200, ['counters' => ['udp_received' => 0]]];
    }

    private function events(Request $request): array
    {
        $after = (int) ($request->query['after'] ?? 0);
        $items = array_slice(
            array_values(array_filter($this->events, static fn (array $event): bool => $event['revision'] > $after)),
            0,
            (int) ($request->query['limit'] ?? 100),
        );

        return [200, [
            'items' => $items,
            'next_after' => $items === [] ? $after : end($items)['revision'],
            'oldest' => $this->events[0]['revision'] ?? $this->revision + 1,
            'newest' => $this->revision,
        ]];
    }

    private function createTenant(Request $request): array
    {
        $tenant = $this->makeTenant($request->body ?? []);

        return [201, $tenant, ['location' => "/v1/tenants/{$tenant['id']}"]];
    }

    private function listTenants(Request $request): array
    {
        $q = $request->query;

        return $this->page(
            $q,
            array_map($this->showTenant(...), array_values($this->tenants)),
            static fn (array $tenant): bool => (!isset($q['name']) || $tenant['name'] === $q['name']) &&
                (!isset($q['q']) || str_contains($tenant['name'], (string) $q['q'])) &&
                (!isset($q['addressing']) || $tenant['addressing'] === $q['addressing']) &&
                (!isset($q['status']) || $tenant['status'] === $q['status']),
        );
    }

    private function getTenant(Request $request, string $id): array
    {
        return [200, $this->showTenant($this->known($this->tenants, $id, 'tenant'))];
    }

    private function patchTenant(Request $request, string $id): array
    {
        $tenant = $this->known($this->tenants, $id, 'tenant');
        $fields = Rules::body($request->body ?? [], Rules::TENANT_PATCH);
        $fields['limits'] = ($fields['limits'] ?? []) + $tenant['limits'];
        $this->tenants[$id] = ['updated_at' => self::now()] + $fields + $tenant;
        $this->note('tenant.updated', $id);

        return $this->getTenant($request, $id);
    }

    private function deleteTenant(Request $request, string $id): array
    {
        $this->known($this->tenants, $id, 'tenant');
        $this->routers = array_filter($this->routers, static fn (array $router): bool => $router['tenant_id'] !== $id);
        unset($this->tenants[$id]);
        $this->note('tenant.deleted', $id);

        return [204];
    }

    private function disableTenant(Request $request, string $id): array
    {
        return $this->turnTenant($request, $id, 'disabled');
    }

    private function enableTenant(Request $request, string $id): array
    {
        return $this->turnTenant($request, $id, 'active');
    }

    private function turnTenant(Request $request, string $id, string $status): array
    {
        $tenant = $this->known($this->tenants, $id, 'tenant');
        if ($tenant['status'] !== $status) {
            $this->tenants[$id] = ['status' => $status, 'updated_at' => self::now()] + $tenant;
            $this->note($status === 'active' ? 'tenant.enabled' : 'tenant.disabled', $id);
        }

        return $this->getTenant($request, $id);
    }

    private function bulkTenants(Request $request): array
    {
        return $this->bulk($request, 'tenants', function (array $fields) use ($request): array {
            $routers = $fields['routers'] ?? [];
            unset($fields['routers']);
            $lans = array_map(static fn (array $router): int => count($router['lans'] ?? []), $routers);
            if (count($routers) + array_sum($lans) > self::ITEM_MAX) {
                $detail = 'A tenant comes with at most 2000 routers and LANs.';
                throw new Refusal(422, 'item-too-large', $detail, 'routers');
            }
            $tenant = $this->makeTenant($fields);
            try {
                $made = array_map(fn (array $router): array => $this->makeRouter($tenant['id'], $router), $routers);
            } catch (Refusal $refusal) {
                $this->deleteTenant($request, $tenant['id']);

                throw $refusal;
            }

            return self::minimal($request)
                ? ['id' => $tenant['id'], 'router_ids' => array_column($made, 'id')]
                : ['tenant' => $this->showTenant($this->tenants[$tenant['id']]), 'routers' => $made];
        });
    }

    private function createRouter(Request $request, string $tenantId): array
    {
        $router = $this->makeRouter($tenantId, $request->body ?? []);

        return [201, $router, ['location' => "/v1/routers/{$router['id']}"]];
    }

    private function bulkRouters(Request $request, string $tenantId): array
    {
        if ($tenantId !== '') {
            $this->known($this->tenants, $tenantId, 'tenant');
        }

        return $this->bulk($request, 'routers', function (array $fields) use ($request, $tenantId): array {
            $owner = $tenantId;
            if ($tenantId === '') {
                Rules::body($fields, ['tenant_id' => 'uuid'] + Rules::ROUTER, ['tenant_id', 'name']);
                $owner = strtolower($fields['tenant_id']);
                unset($fields['tenant_id']);
            }
            if (self::minimal($request) && !isset($fields['public_key'])) {
                throw new Refusal(
                    422,
                    'keys-would-be-lost',
                    'A minimal answer cannot hold a private key.',
                    'public_key',
                );
            }
            $made = $this->makeRouter($owner, $fields);

            return self::minimal($request) ? ['id' => $made['id']] : ['router' => $made];
        });
    }

    private function listRoutersOfTenant(Request $request, string $tenantId): array
    {
        return $this->listRouters($request, $tenantId);
    }

    private function listRouters(Request $request, string $tenantId = ''): array
    {
        $tenantId = $tenantId !== '' ? $tenantId : strtolower((string) ($request->query['tenant_id'] ?? ''));
        if ($tenantId !== '') {
            $this->known($this->tenants, $tenantId, 'tenant');
        }
        $q = $request->query;

        return $this->page(
            $q,
            array_map($this->showRouter(...), array_values($this->routers)),
            static fn (array $router): bool => ($tenantId === '' || $router['tenant_id'] === $tenantId) &&
                (!isset($q['name']) || $router['name'] === $q['name']) &&
                (!isset($q['q']) || str_contains($router['name'], (string) $q['q'])) &&
                (!isset($q['status']) || $router['status'] === $q['status']) &&
                (!isset($q['connected']) || $router['connected'] === $q['connected']) &&
                (!isset($q['public_key']) || $router['public_key'] === $q['public_key']) &&
                (!isset($q['address']) ||
                    in_array($q['address'], [$router['address'], $router['hub_address'], $router['address6']], true)),
        );
    }

    private function getRouter(Request $request, string $id): array
    {
        return [200, $this->showRouter($this->known($this->routers, $id, 'router'))];
    }

    private function patchRouter(Request $request, string $id): array
    {
        $router = $this->known($this->routers, $id, 'router');
        $fields = Rules::body($request->body ?? [], Rules::ROUTER_PATCH);
        Rules::lans($fields['lans'] ?? []);
        $this->lansMustBeFree($this->tenants[$router['tenant_id']], $fields['lans'] ?? [], $id);
        $this->routers[$id] = ['updated_at' => self::now()] + $fields + $router;
        $this->note('router.updated', $router['tenant_id'], $id);

        return $this->getRouter($request, $id);
    }

    private function deleteRouter(Request $request, string $id): array
    {
        $router = $this->known($this->routers, $id, 'router');
        unset($this->routers[$id]);
        $this->note('router.deleted', $router['tenant_id'], $id);

        return [204];
    }

    private function disableRouter(Request $request, string $id): array
    {
        $router = $this->known($this->routers, $id, 'router');
        if ($router['status'] !== 'disabled') {
            $this->routers[$id] = ['status' => 'disabled', 'updated_at' => self::now()] + $router;
            $this->note('router.disabled', $router['tenant_id'], $id);
        }

        return $this->getRouter($request, $id);
    }

    private function enableRouter(Request $request, string $id): array
    {
        $router = $this->known($this->routers, $id, 'router');
        if ($router['status'] === 'disabled') {
            $status = $router['last_handshake_at'] === null ? 'pending' : 'active';
            $this->routers[$id] = ['status' => $status, 'updated_at' => self::now()] + $router;
            $this->note('router.enabled', $router['tenant_id'], $id);
        }

        return $this->getRouter($request, $id);
    }

    private function rotateRouter(Request $request, string $id): array
    {
        $router = $this->known($this->routers, $id, 'router');
        $fields = Rules::body($request->body ?? [], Rules::ROUTER_KEYS);
        [$private, $public] = $this->keys($fields, $id);
        $this->routers[$id] =
            [
                'public_key' => $public,
                'has_preshared_key' => isset($fields['preshared_key']) || $router['has_preshared_key'],
                'updated_at' => self::now(),
            ] + $router;
        $this->note('router.rotated', $router['tenant_id'], $id);

        return [200, $this->showMade($id, $private)];
    }

    private function routerConfig(Request $request, string $id): array
    {
        return [200, $this->config($this->known($this->routers, $id, 'router'), null)];
    }

    private function createToken(Request $request): array
    {
        $fields = Rules::body($request->body ?? [], Rules::TOKEN, ['name', 'scope']);
        Rules::token($fields);
        if (isset($fields['tenant_id'])) {
            $this->known($this->tenants, strtolower($fields['tenant_id']), 'tenant');
        }
        $id = (string) Str::orderedUuid();
        $this->tokens[$id] = [
            'id' => $id,
            'name' => $fields['name'],
            'scope' => $fields['scope'],
            'tenant_id' => $fields['tenant_id'] ?? null,
            'created_at' => self::now(),
            'expires_at' => $fields['expires_at'] ?? null,
            'last_used_at' => null,
        ];
        $this->note('token.created');

        return [201, $this->tokens[$id] + ['token' => 'sp_' . Str::random(43)], ['location' => "/v1/tokens/{$id}"]];
    }

    private function listTokens(): array
    {
        return [200, ['items' => array_values($this->tokens)]];
    }

    private function revokeToken(Request $request, string $id): array
    {
        $this->known($this->tokens, $id, 'token');
        unset($this->tokens[$id]);
        $this->note('token.revoked');

        return [204];
    }

    /** @return array<string, scalar>  without those that are not sent */
    private static function given(Request $request): array
    {
        return array_filter($request->query, static fn (mixed $value): bool => $value !== null);
    }

    private static function minimal(Request $request): bool
    {
        return ($request->query['return'] ?? 'full') === 'minimal';
    }

    private static function now(): string
    {
        return CarbonImmutable::now('UTC')->format('Y-m-d\TH:i:s.u\Z');
    }
}
