<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\TenantStatus;

/** A customer: owns routers, an address space, limits and usage. */
final class Tenant extends Record
{
    public readonly string $id;
    public readonly string $name;
    public readonly Addressing $addressing;
    public readonly TenantStatus $status;
    public readonly string $subnet;
    public readonly bool $egress;
    public readonly Limits $limits;
    public readonly int $routers;
    public readonly int $connectedRouters;
    public readonly int $bytesReceived;
    public readonly int $bytesSent;
    public readonly CarbonImmutable $createdAt;
    public readonly CarbonImmutable $updatedAt;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->id = $data['id'];
        $this->name = $data['name'];
        $this->addressing = Addressing::from($data['addressing']);
        $this->status = TenantStatus::from($data['status']);
        $this->subnet = $data['subnet'];
        $this->egress = $data['egress'];
        $this->limits = Limits::fromArray($data['limits']);
        $this->routers = $data['routers'];
        $this->connectedRouters = $data['connected_routers'];
        $this->bytesReceived = $data['bytes_received'];
        $this->bytesSent = $data['bytes_sent'];
        $this->createdAt = CarbonImmutable::parse($data['created_at']);
        $this->updatedAt = CarbonImmutable::parse($data['updated_at']);
    }

    public function isActive(): bool
    {
        return $this->status === TenantStatus::Active;
    }
}
