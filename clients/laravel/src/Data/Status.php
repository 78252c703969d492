<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;

/** How the gateway is. What concerns its parts is in arrays, as GET /v1/openapi.json describes them. */
final class Status extends Record
{
    public readonly string $version;
    public readonly CarbonImmutable $startedAt;

    /** @var array<string, mixed>  endpoint, port, public_key, hub_address, pool, ... */
    public readonly array $gateway;

    /** @var array<string, mixed>  name, up, interface, ... */
    public readonly array $backend;

    /** @var array<string, mixed>  kind, ok, revision */
    public readonly array $store;

    /** @var array{tenants: int, routers: int, connected_routers: int} */
    public readonly array $counts;

    /** @var array<string, mixed>  state, trouble, ... */
    public readonly array $reconcile;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->version = $data['version'];
        $this->startedAt = CarbonImmutable::parse($data['started_at']);
        $this->gateway = $data['gateway'];
        $this->backend = $data['backend'];
        $this->store = $data['store'];
        $this->counts = $data['counts'];
        $this->reconcile = $data['reconcile'];
    }

    public function isInSync(): bool
    {
        return $this->backend['up'] && $this->reconcile['state'] === 'in-sync';
    }
}
