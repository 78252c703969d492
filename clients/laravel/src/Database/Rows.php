<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Database;

use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\GatewayStatus;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Exceptions\AuthorizationException;

/** The columns of the two tables, from what the API tells. */
final class Rows
{
    private GatewayStatus|false|null $gateway = null;

    public function __construct(private readonly Client $client)
    {
    }

    /** @return array<string, mixed> */
    public function ofTenant(Tenant $tenant): array
    {
        return [
            'tenant_id' => $tenant->id,
            'name' => $tenant->name,
            'addressing' => $tenant->addressing->value,
            'server_public_key' => $this->gateway()?->publicKey ?? '',
            'server_ip' => $this->gateway()?->hubAddress ?? '',
            'subnet_cidr' => $tenant->subnet,
            'status' => $tenant->status->value,
            'egress' => (int) $tenant->egress,
            'limit_bits_per_second' => $tenant->limits->bitsPerSecond,
            'limit_packets_per_second' => $tenant->limits->packetsPerSecond,
            'limit_routers' => $tenant->limits->routers,
            'routers' => $tenant->routers,
            'connected_peers' => $tenant->connectedRouters,
            'bytes_received' => $tenant->bytesReceived,
            'bytes_sent' => $tenant->bytesSent,
            'created_at' => $tenant->toArray()['created_at'],
            'updated_at' => $tenant->toArray()['updated_at'],
        ];
    }

    /** @return array<string, mixed>  without tenant_vpn_tunnel_id, which only the table knows */
    public function ofRouter(Router $router): array
    {
        return [
            'tenant_id' => $router->tenantId,
            'router_id' => $router->id,
            'name' => $router->name,
            'status' => $router->status->value,
            'client_public_key' => $router->publicKey,
            'client_ip' => $router->address,
            'hub_address' => $router->hubAddress,
            'address6' => $router->address6,
            'server_ip' => $this->gateway()?->hubAddress ?? '',
            'server_public_key' => $this->gateway()?->publicKey ?? '',
            'server_endpoint' => $this->gateway()?->endpoint ?? '',
            'server_port' => $this->gateway()?->port ?? 51820,
            'connected_since' => $router->toArray()['connected_since'] ?? null,
            'last_handshake_at' => $router->toArray()['last_handshake_at'],
            'endpoint' => $router->endpoint,
            'bytes_received' => $router->bytesReceived,
            'bytes_sent' => $router->bytesSent,
            'lans' => count($router->lans),
            'created_at' => $router->toArray()['created_at'],
            'updated_at' => $router->toArray()['updated_at'],
        ];
    }

    /** Null for a tenant's token, which may not see it. */
    private function gateway(): ?GatewayStatus
    {
        if ($this->gateway === null) {
            try {
                $this->gateway = $this->client->status()->gateway;
            } catch (AuthorizationException) {
                $this->gateway = false;
            }
        }

        return $this->gateway ?: null;
    }
}
