<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;

/** How the gateway is. */
final class Status extends Record
{
    public readonly string $version;
    public readonly CarbonImmutable $startedAt;
    public readonly int $uptimeSeconds;
    public readonly GatewayStatus $gateway;
    public readonly BackendStatus $backend;
    public readonly StoreStatus $store;
    public readonly Counts $counts;
    public readonly PoolStatus $pool;
    public readonly ReconcileStatus $reconcile;
    public readonly int $memoryBytes;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->version = $data['version'];
        $this->startedAt = CarbonImmutable::parse($data['started_at']);
        $this->uptimeSeconds = $data['uptime_seconds'];
        $this->gateway = new GatewayStatus($data['gateway']);
        $this->backend = new BackendStatus($data['backend']);
        $this->store = new StoreStatus($data['store']);
        $this->counts = new Counts($data['counts']);
        $this->pool = new PoolStatus($data['pool']);
        $this->reconcile = new ReconcileStatus($data['reconcile']);
        $this->memoryBytes = $data['memory_bytes'];
    }

    public function isInSync(): bool
    {
        return $this->backend->up && $this->reconcile->state === 'in-sync';
    }
}
