<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Models;

use Carbon\CarbonImmutable;
use Illuminate\Database\Eloquent\Builder;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\Relations\HasMany;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\TenantStatus;

/**
 * A tenant as the gateway's table has it.
 *
 * @property int|null $id
 * @property string $tenant_id
 * @property string|null $name
 * @property Addressing $addressing
 * @property TenantStatus $status
 * @property string $server_public_key
 * @property string $server_ip  the hub's own address
 * @property string $subnet_cidr
 * @property bool $egress
 * @property int $limit_bits_per_second
 * @property int $limit_packets_per_second
 * @property int $limit_routers
 * @property int $routers
 * @property int $connected_peers
 * @property int $bytes_received
 * @property int $bytes_sent
 * @property CarbonImmutable $created_at
 * @property CarbonImmutable $updated_at
 */
class TenantVpnTunnel extends Model
{
    use OwnedByGateway;

    public $timestamps = false;

    protected $table = 'tenant_vpn_tunnels';

    protected $guarded = [];

    protected $hidden = ['next_offset'];

    protected $casts = [
        'addressing' => Addressing::class,
        'status' => TenantStatus::class,
        'egress' => 'boolean',
        'limit_bits_per_second' => 'integer',
        'limit_packets_per_second' => 'integer',
        'limit_routers' => 'integer',
        'routers' => 'integer',
        'connected_peers' => 'integer',
        'bytes_received' => 'integer',
        'bytes_sent' => 'integer',
        'created_at' => 'immutable_datetime',
        'updated_at' => 'immutable_datetime',
    ];

    /** @return HasMany<VpnConfiguration> */
    public function vpnConfigurations(): HasMany
    {
        return $this->hasMany(
            config('sallyport.models.configuration', VpnConfiguration::class),
            'tenant_vpn_tunnel_id',
        );
    }

    /** @param  Builder<self>  $query */
    public function scopeActive(Builder $query): void
    {
        $query->where('status', TenantStatus::Active->value);
    }

    public function isActive(): bool
    {
        return $this->status === TenantStatus::Active;
    }

    /** @return array<string, string> */
    public static function ownedColumns(): array
    {
        $update = 'call Sallyport::tenants()->update().';
        $status = 'call TenantVpnTunnelService::disableTunnel() or enableTunnel().';
        $gateway = 'it is kept by the gateway.';

        return [
            'name' => $update,
            'egress' => $update,
            'limit_bits_per_second' => $update,
            'limit_packets_per_second' => $update,
            'limit_routers' => $update,
            'status' => $status,
        ] +
            array_fill_keys(
                [
                    'id',
                    'tenant_id',
                    'addressing',
                    'server_public_key',
                    'server_ip',
                    'subnet_cidr',
                    'routers',
                    'connected_peers',
                    'bytes_received',
                    'bytes_sent',
                    'next_offset',
                    'created_at',
                    'updated_at',
                ],
                $gateway,
            );
    }

    public static function insteadOf(string $verb): string
    {
        return $verb === 'removed'
            ? 'call TenantVpnTunnelService::removeTunnel().'
            : 'call TenantVpnTunnelService::createTunnel().';
    }
}
