<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;

/** A host that runs Sallyport on the database. */
final class Gateway extends Record
{
    public readonly string $name;

    /** Whether it is the one that answered. */
    public readonly bool $self;
    public readonly bool $alive;
    public readonly string $endpoint;
    public readonly string $region;
    public readonly string $version;
    public readonly string $backend;

    /** The last change that is in force there. */
    public readonly int $revision;
    public readonly int $connectedRouters;
    public readonly int $loadPercent;
    public readonly int $clockOffsetMs;
    public readonly ?CarbonImmutable $startedAt;

    /** Null: it was stopped. */
    public readonly ?CarbonImmutable $heartbeatAt;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->name = $data['name'];
        $this->self = $data['self'];
        $this->alive = $data['alive'];
        $this->endpoint = $data['endpoint'];
        $this->region = $data['region'];
        $this->version = $data['version'];
        $this->backend = $data['backend'];
        $this->revision = $data['revision'];
        $this->connectedRouters = $data['connected_routers'];
        $this->loadPercent = $data['load_percent'];
        $this->clockOffsetMs = $data['clock_offset_ms'];
        $this->startedAt = self::time($data['started_at']);
        $this->heartbeatAt = self::time($data['heartbeat_at']);
    }
}
