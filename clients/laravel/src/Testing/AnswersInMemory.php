<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

use Carbon\CarbonImmutable;
use Closure;
use Illuminate\Support\Str;
use Sallyport\Laravel\Http\Request;

/** What the gateway in memory makes and shows. */
trait AnswersInMemory
{
    private function status(): array
    {
        $connected = count(array_filter($this->routers, self::isConnected(...)));

        return [
            200,
            [
                'version' => 'fake',
                'started_at' => self::now(),
                'uptime_seconds' => 0,
                'gateway' => [
                    'name' => 'fake',
                    'region' => '',
                    'warning' => null,
                    'endpoint' => 'vpn.example.com',
                    'port' => 51820,
                    'listen_port' => 51820,
                    'public_key' => $this->publicKey,
                    'hub_address' => '10.0.0.1',
                    'hub_address6' => 'fd00::1',
                    'pool' => '10.0.0.0/8',
                    'ula' => 'fd00::/48',
                    'mtu' => 1420,
                ],
                'backend' => [
                    'name' => 'fake',
                    'why' => 'Sallyport::fake()',
                    'up' => true,
                    'pid' => null,
                    'workers' => 1,
                    'crypto' => 'none',
                    'offloads' => '',
                    'offloads_off' => (object) [],
                    'memory_bytes' => 0,
                    'peers' => count($this->routers),
                    'tenants' => count($this->tenants),
                    'listen_port' => 51820,
                    'interface' => 'wg0',
                ],
                'store' => ['kind' => 'memory', 'ok' => true, 'revision' => $this->revision, 'trouble' => null],
                'counts' => [
                    'tenants' => count($this->tenants),
                    'routers' => count($this->routers),
                    'connected_routers' => $connected,
                ],
                'pool' => ['addresses_total' => 2 ** 24, 'addresses_free' => 2 ** 24 - $this->hubAddresses],
                'reconcile' => [
                    'last_at' => self::now(),
                    'last_ms' => 0,
                    'mended' => 0,
                    'state' => 'in-sync',
                    'trouble' => null,
                ],
                'memory_bytes' => 0,
            ],
        ];
    }

    /** @return array<string, mixed> */
    private function makeTenant(array $body): array
    {
        $fields = $this->fields($body, ['id', 'name', 'addressing', 'subnet', 'egress', 'limits'], ['name']);
        $id = $this->newId($fields, $this->tenants, 'tenant');
        $addressing = $fields['addressing'] ?? 'unique';
        $this->tenants[$id] = [
            'id' => $id,
            'name' => $fields['name'],
            'addressing' => $addressing,
            'status' => 'active',
            'subnet' =>
                $fields['subnet'] ??
                ($addressing === 'private'
                    ? '10.100.0.0/16'
                    : long2ip(ip2long('10.0.0.32') + 32 * $this->blocks++) . '/27'),
            'egress' => $fields['egress'] ?? false,
            'limits' => ($fields['limits'] ?? []) + ['bits_per_second' => 0, 'packets_per_second' => 0, 'routers' => 0],
            'given' => 0,
            'created_at' => self::now(),
            'updated_at' => self::now(),
        ];
        $this->note('tenant.created', $id);

        return $this->showTenant($this->tenants[$id]);
    }

    /** @return array<string, mixed> */
    private function makeRouter(string $tenantId, array $body): array
    {
        $tenant = $this->known($this->tenants, $tenantId, 'tenant');
        $fields = $this->fields($body, ['id', 'name', 'public_key', 'preshared_key', 'address', 'lans'], ['name']);
        $own = array_filter($this->routers, static fn (array $router): bool => $router['tenant_id'] === $tenantId);
        if ($tenant['limits']['routers'] > 0 && count($own) >= $tenant['limits']['routers']) {
            throw new Refusal(
                409,
                'router-limit',
                "The tenant may have {$tenant['limits']['routers']} routers, and has them.",
            );
        }
        [$private, $public] = $this->keys($fields);
        $hub = 'fd00::' . dechex(++$this->hubAddresses);
        $address = $fields['address'] ?? $this->nextAddress($tenantId, $own);
        if (in_array($address, array_column($own, 'address'), true)) {
            throw new Refusal(409, 'duplicate-address', "Another router of this tenant has {$address}.", 'address');
        }
        $id = $this->newId($fields, $this->routers, 'router');
        $this->routers[$id] = [
            'id' => $id,
            'tenant_id' => $tenantId,
            'name' => $fields['name'],
            'status' => 'pending',
            'public_key' => $public,
            'has_preshared_key' => isset($fields['preshared_key']),
            'address' => $address,
            'hub_address' =>
                $tenant['addressing'] === 'unique' ? $address : long2ip(ip2long('10.128.0.0') + $this->hubAddresses),
            'address6' => $hub,
            'lans' => $fields['lans'] ?? [],
            'last_handshake_at' => null,
            'bytes_received' => 0,
            'bytes_sent' => 0,
            'endpoint' => null,
            'created_at' => self::now(),
            'updated_at' => self::now(),
        ];
        $this->note('router.created', $tenantId, $id);

        return $this->showMade($id, $private);
    }

    /** @param  array<string, array<string, mixed>>  $own */
    private function nextAddress(string $tenantId, array $own): string
    {
        $taken = array_flip(array_column($own, 'address'));
        $base = ip2long(strtok($this->tenants[$tenantId]['subnet'], '/'));
        do {
            $address = long2ip($base + ++$this->tenants[$tenantId]['given']);
        } while (isset($taken[$address]));

        return $address;
    }

    /** @return array{string|null, string}  private half, if it was made here, and public half */
    private function keys(array $fields, ?string $ofRouter = null): array
    {
        if (!isset($fields['public_key'])) {
            return Keys::pair();
        }
        $public = $fields['public_key'];
        foreach ($this->routers as $id => $router) {
            if ($router['public_key'] === $public && $id !== $ofRouter) {
                throw new Refusal(
                    409,
                    'duplicate-public-key',
                    'Another router has this public key already. Every router needs a key of its own.',
                    'public_key',
                );
            }
        }

        return [null, $public];
    }

    /** @return array<string, mixed> */
    private function showTenant(array $tenant): array
    {
        $own = array_filter($this->routers, static fn (array $router): bool => $router['tenant_id'] === $tenant['id']);
        unset($tenant['given']);

        return $tenant + [
            'routers' => count($own),
            'connected_routers' => count(array_filter($own, self::isConnected(...))),
            'bytes_received' => array_sum(array_column($own, 'bytes_received')),
            'bytes_sent' => array_sum(array_column($own, 'bytes_sent')),
        ];
    }

    /** @return array<string, mixed> */
    private function showRouter(array $router): array
    {
        $connected = self::isConnected($router);

        return $router + [
            'connected' => $connected,
            'connected_since' => $connected ? $router['last_handshake_at'] : null,
            'gateway' => $connected ? 'fake' : null,
        ];
    }

    /** @return array<string, mixed> */
    private function showMade(string $id, ?string $private): array
    {
        $router = $this->routers[$id];

        return $this->showRouter($router) +
            ($private === null ? [] : ['private_key' => $private]) + ['config' => $this->config($router, $private)];
    }

    private function config(array $router, ?string $private): string
    {
        $key = $private === null ? '# PrivateKey = (only the router has it)' : "PrivateKey = {$private}";
        $subnet = $this->tenants[$router['tenant_id']]['subnet'];

        return "[Interface]\n{$key}\nAddress = {$router['address']}/32\n\n[Peer]\nPublicKey = {$this->publicKey}\n" .
            "Endpoint = vpn.example.com:51820\nAllowedIPs = 10.0.0.1/32, {$subnet}\nPersistentKeepalive = 25\n";
    }

    private static function isConnected(array $router): bool
    {
        return $router['last_handshake_at'] !== null &&
            $router['status'] !== 'disabled' &&
            CarbonImmutable::parse($router['last_handshake_at'])->gt(CarbonImmutable::now()->subSeconds(180));
    }

    /** Each item stands or falls alone. */
    private function bulk(Request $request, string $member, Closure $make): array
    {
        $items = [];
        $given = $request->body[$member] ?? null;
        if ($given === null) {
            throw new Refusal(422, 'missing-field', "\"{$member}\" is missing.", $member);
        }
        foreach ($given as $fields) {
            try {
                $items[] = ['status' => 201] + $make($fields);
            } catch (Refusal $refusal) {
                $items[] = ['status' => $refusal->status, 'problem' => $refusal->problem()];
            }
        }
        $failed = count(array_filter($items, static fn (array $item): bool => isset($item['problem'])));

        return [200, ['created' => count($items) - $failed, 'failed' => $failed, 'items' => $items]];
    }

    private function page(array $query, array $items, Closure $wanted): array
    {
        $items = array_values(array_filter($items, $wanted));
        $from = (int) ($query['cursor'] ?? 0);
        $limit = (int) ($query['limit'] ?? 100);
        if ($limit < 1 || $limit > 1000) {
            throw new Refusal(422, 'out-of-range', '"limit" is from 1 to 1000.', 'limit');
        }

        return [
            200,
            [
                'items' => array_slice($items, $from, $limit),
                'next_cursor' => $from + $limit < count($items) ? (string) ($from + $limit) : null,
            ],
        ];
    }

    private function known(array $things, string $id, string $what): array
    {
        return $things[$id] ?? throw new Refusal(404, 'not-found', "There is no {$what} with this id.");
    }

    /**
     * @param  list<string>  $known
     * @param  list<string>  $required
     */
    private function fields(array $body, array $known, array $required): array
    {
        foreach (array_diff(array_keys($body), $known) as $name) {
            throw new Refusal(422, 'unknown-field', "There is no field \"{$name}\" here.", (string) $name);
        }
        foreach ($required as $name) {
            if (!isset($body[$name])) {
                throw new Refusal(422, 'missing-field', "\"{$name}\" is missing.", $name);
            }
        }
        if (
            isset($body['name']) &&
            (trim($body['name']) !== $body['name'] || $body['name'] === '' || strlen($body['name']) > 128)
        ) {
            throw new Refusal(422, 'bad-name', 'A name has 1 to 128 bytes, without space at either end.', 'name');
        }
        if (isset($body['public_key']) && !Keys::isKey($body['public_key'])) {
            throw new Refusal(422, 'invalid-key', 'This is not a WireGuard key: 32 bytes in base64.', 'public_key');
        }
        if (
            isset($body['preshared_key']) &&
            $body['preshared_key'] !== 'generate' &&
            !Keys::isKey($body['preshared_key'])
        ) {
            throw new Refusal(422, 'invalid-key', 'This is not a preshared key: 32 bytes in base64.', 'preshared_key');
        }
        foreach ($body['lans'] ?? [] as $i => $lan) {
            if (preg_match('#^[0-9a-fA-F.:]+/\d{1,3}$#', (string) $lan) !== 1) {
                throw new Refusal(
                    422,
                    'invalid-prefix',
                    "\"{$lan}\" is not a prefix such as 192.168.88.0/24.",
                    "lans[{$i}]",
                );
            }
        }

        return $body;
    }

    private function newId(array $fields, array $things, string $what): string
    {
        $id = strtolower($fields['id'] ?? (string) Str::orderedUuid());
        if (!Str::isUuid($id)) {
            throw new Refusal(422, 'invalid-id', 'An id is a UUID.', 'id');
        }

        return isset($things[$id])
            ? throw new Refusal(409, 'duplicate-id', "There is a {$what} with this id.", 'id')
            : $id;
    }

    private function note(string $kind, ?string $tenantId = null, ?string $routerId = null): void
    {
        $this->events[] = [
            'revision' => ++$this->revision,
            'at' => self::now(),
            'kind' => $kind,
            'tenant_id' => $tenantId,
            'router_id' => $routerId,
            'actor' => 'uid:0',
        ];
    }
}
