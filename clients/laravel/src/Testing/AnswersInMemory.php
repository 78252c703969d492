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
                    'warning' => null,
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
        $fields = Rules::body($body, Rules::TENANT, ['name']);
        $addressing = $fields['addressing'] ?? 'unique';
        if (isset($fields['subnet'])) {
            Rules::subnet($fields['subnet'], $addressing);
            $this->mustBeFree($fields['subnet'], $addressing);
        }
        $id = $this->newId($fields, $this->tenants, 'tenant');
        $this->tenants[$id] = [
            'id' => $id,
            'name' => $fields['name'],
            'addressing' => $addressing,
            'status' => 'active',
            'subnet' =>
                $fields['subnet'] ?? ($addressing === 'private' ? '10.100.0.0/16' : $this->nextBlock()),
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
        $fields = Rules::body($body, Rules::ROUTER, ['name']);
        Rules::lans($fields['lans'] ?? []);
        $tenant = $this->known($this->tenants, $tenantId, 'tenant');
        $own = array_filter($this->routers, static fn (array $router): bool => $router['tenant_id'] === $tenantId);
        if ($tenant['limits']['routers'] > 0 && count($own) >= $tenant['limits']['routers']) {
            throw new Refusal(
                409,
                'router-limit',
                "The tenant may have {$tenant['limits']['routers']} routers, and has them.",
            );
        }
        $this->lansMustBeFree($tenant, $fields['lans'] ?? []);
        $address = isset($fields['address'])
            ? $this->wished($tenant, $fields['address'], $own)
            : $this->nextAddress($tenantId, $own);
        [$private, $public] = $this->keys($fields);
        $id = $this->newId($fields, $this->routers, 'router');
        $hub = 'fd00::' . dechex(++$this->hubAddresses);
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

    private function nextBlock(): string
    {
        do {
            $block = long2ip(ip2long('10.0.0.32') + 32 * $this->blocks++) . '/27';
        } while ($this->taken($block));

        return $block;
    }

    private function mustBeFree(string $subnet, string $addressing): void
    {
        if ($addressing === 'unique' && $this->taken($subnet)) {
            throw new Refusal(409, 'subnet-taken', "{$subnet} is not free in the pool.", 'subnet');
        }
    }

    /** Whether another tenant of the hub's space has it or a part of it. */
    private function taken(string $subnet): bool
    {
        $prefix = Prefix::parse($subnet);
        foreach ($this->tenants as $tenant) {
            if ($tenant['addressing'] === 'unique' && $prefix->overlaps(Prefix::parse($tenant['subnet']))) {
                return true;
            }
        }

        return false;
    }

    /** @param  list<string>  $lans */
    private function lansMustBeFree(array $tenant, array $lans, ?string $ofRouter = null): void
    {
        $private = $tenant['addressing'] === 'private';
        $numbers = Prefix::parse($private ? $tenant['subnet'] : Rules::POOL);
        foreach ($lans as $i => $text) {
            $lan = Prefix::parse($text);
            if ($lan->overlaps($numbers)) {
                throw new Refusal(409, 'lan-overlaps-tunnel', "{$text} overlaps tunnel addresses.", "lans[{$i}]");
            }
            foreach ($this->routers as $id => $router) {
                $sameSpace = $private
                    ? $router['tenant_id'] === $tenant['id']
                    : $this->tenants[$router['tenant_id']]['addressing'] === 'unique';
                foreach ($sameSpace && $id !== $ofRouter ? $router['lans'] : [] as $other) {
                    if ($lan->overlaps(Prefix::parse($other))) {
                        throw new Refusal(409, 'lan-overlap', "{$text} overlaps {$other}.", "lans[{$i}]");
                    }
                }
            }
        }
    }

    /** @param  array<string, array<string, mixed>>  $own */
    private function wished(array $tenant, string $text, array $own): string
    {
        $wish = Prefix::parse($text);
        $subnet = Prefix::parse($tenant['subnet']);
        if (!$wish->isIpv4()) {
            throw new Refusal(422, 'address-family', 'The address must be IPv4.', 'address');
        }
        if (!$subnet->covers($wish)) {
            throw new Refusal(422, 'address-outside-tenant', "{$text} is not among the tenant's.", 'address');
        }
        $address = $wish->address();
        if ($subnet->isEdge($wish) || in_array($address, array_column($own, 'address'), true)) {
            throw new Refusal(409, 'duplicate-address', "{$text} is in use, or the first or last.", 'address');
        }

        return $address;
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
        if (Keys::isWeak($public)) {
            throw new Refusal(422, 'weak-public-key', 'No real key is one of these points.', 'public_key');
        }
        if ($public === $this->publicKey) {
            throw new Refusal(422, 'gateways-own-key', "This is the gateway's own public key.", 'public_key');
        }
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

    private static function countRouters(mixed $tenant): int
    {
        return is_array($tenant) && is_array($tenant['routers'] ?? null) ? count($tenant['routers']) : 0;
    }

    /** Each item stands or falls alone. */
    private function bulk(Request $request, string $member, Closure $make): array
    {
        $items = [];
        $given = $request->body[$member] ?? null;
        if ($given === null) {
            throw new Refusal(422, 'missing-field', "\"{$member}\" is missing.", $member);
        }
        if (!is_array($given) || !array_is_list($given)) {
            throw new Refusal(422, 'wrong-type', 'Expected an array.', $member);
        }
        $routers = $member === 'tenants' ? array_sum(array_map(self::countRouters(...), $given)) : 0;
        if (count($given) > self::BULK_MAX || $given === []) {
            throw new Refusal(422, 'out-of-range', 'Give 1 to ' . self::BULK_MAX . ' items.', $member);
        }
        if ($routers > self::BULK_MAX) {
            throw new Refusal(422, 'too-many-items', "{$routers} routers in one request.");
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
        return $things[$id] ?? throw new Refusal(404, "{$what}-not-found", "There is no {$what} with this id.");
    }

    private function newId(array $fields, array $things, string $what): string
    {
        $id = strtolower($fields['id'] ?? (string) Str::orderedUuid());

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
            'token_id' => null,
        ];
    }
}
