<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;
use Sallyport\Laravel\Enums\RouterStatus;

/** A site device of a tenant; one WireGuard peer. */
final class Router extends Record
{
    public readonly string $id;
    public readonly string $tenantId;
    public readonly string $name;
    public readonly RouterStatus $status;
    public readonly string $publicKey;
    public readonly bool $hasPresharedKey;

    /** The tunnel address, in the tenant's space. */
    public readonly string $address;

    /** The address by which the hub, and so this application, reaches it. */
    public readonly string $hubAddress;
    public readonly string $address6;

    /** @var list<string> */
    public readonly array $lans;
    public readonly bool $connected;
    public readonly ?CarbonImmutable $connectedSince;

    /** The name of the gateway that holds its session. */
    public readonly ?string $gateway;
    public readonly ?CarbonImmutable $lastHandshakeAt;
    public readonly int $bytesReceived;
    public readonly int $bytesSent;
    public readonly ?string $endpoint;
    public readonly CarbonImmutable $createdAt;
    public readonly CarbonImmutable $updatedAt;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->id = $data['id'];
        $this->tenantId = $data['tenant_id'];
        $this->name = $data['name'];
        $this->status = RouterStatus::from($data['status']);
        $this->publicKey = $data['public_key'];
        $this->hasPresharedKey = $data['has_preshared_key'];
        $this->address = $data['address'];
        $this->hubAddress = $data['hub_address'];
        $this->address6 = $data['address6'];
        $this->lans = $data['lans'];
        $this->connected = $data['connected'];
        $this->connectedSince = self::time($data['connected_since'] ?? null);
        $this->gateway = $data['gateway'] ?? null;
        $this->lastHandshakeAt = self::time($data['last_handshake_at']);
        $this->bytesReceived = $data['bytes_received'];
        $this->bytesSent = $data['bytes_sent'];
        $this->endpoint = $data['endpoint'];
        $this->createdAt = CarbonImmutable::parse($data['created_at']);
        $this->updatedAt = CarbonImmutable::parse($data['updated_at']);
    }

    public function isDisabled(): bool
    {
        return $this->status === RouterStatus::Disabled;
    }
}
