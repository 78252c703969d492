<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

/** What routers need to know of the gateway. */
final class GatewayStatus extends Record
{
    public readonly string $name;
    public readonly string $region;

    /** What is wrong with this gateway among the others; null if nothing. */
    public readonly ?string $warning;

    /** The host that routers dial. */
    public readonly string $endpoint;

    /** The UDP port that routers dial. */
    public readonly int $port;

    /** The UDP port the data plane listens on; 0 while it does not. */
    public readonly int $listenPort;
    public readonly string $publicKey;

    /** By which routers reach the hub. */
    public readonly string $hubAddress;
    public readonly string $hubAddress6;
    public readonly string $pool;
    public readonly string $ula;
    public readonly int $mtu;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->name = $data['name'];
        $this->region = $data['region'];
        $this->warning = $data['warning'];
        $this->endpoint = $data['endpoint'];
        $this->port = $data['port'];
        $this->listenPort = $data['listen_port'];
        $this->publicKey = $data['public_key'];
        $this->hubAddress = $data['hub_address'];
        $this->hubAddress6 = $data['hub_address6'];
        $this->pool = $data['pool'];
        $this->ula = $data['ula'];
        $this->mtu = $data['mtu'];
    }
}
