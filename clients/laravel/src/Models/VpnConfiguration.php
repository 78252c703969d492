<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Models;

use Carbon\CarbonImmutable;
use Illuminate\Database\Eloquent\Builder;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\Relations\BelongsTo;
use Sallyport\Laravel\Enums\RouterStatus;

/**
 * A router as the gateway's table has it. One that is not saved yet is a wish, for
 * TenantVpnTunnelService::addRouterPeer().
 *
 * @property int|null $id
 * @property string $tenant_id
 * @property int|null $tenant_vpn_tunnel_id
 * @property string|null $router_id
 * @property string|null $name
 * @property RouterStatus $status
 * @property string|null $client_public_key
 * @property string|null $client_ip  its tunnel address
 * @property string $hub_address  the address by which this application reaches it
 * @property string $address6
 * @property string $server_ip  the hub's own address
 * @property string $server_public_key
 * @property string $server_endpoint
 * @property int $server_port
 * @property string|null $endpoint
 * @property int $bytes_received
 * @property int $bytes_sent
 * @property CarbonImmutable|null $connected_since
 * @property CarbonImmutable|null $last_handshake_at
 * @property CarbonImmutable $created_at
 * @property CarbonImmutable $updated_at
 */
class VpnConfiguration extends Model
{
    use OwnedByGateway;

    /** A router counts as connected so many seconds after a handshake. */
    public const CONNECTED_SECONDS = 180;

    public $timestamps = false;

    protected $table = 'vpn_configurations';

    protected $guarded = [];

    protected $hidden = [
        'client_private_key',
        'preshared_key_sealed',
        'handshake_stamp',
        'counted_received',
        'counted_sent',
        'counted_generation',
    ];

    protected $casts = [
        'status' => RouterStatus::class,
        'tenant_vpn_tunnel_id' => 'integer',
        'server_port' => 'integer',
        'bytes_received' => 'integer',
        'bytes_sent' => 'integer',
        'lans' => 'integer',
        'connected_since' => 'immutable_datetime',
        'last_handshake_at' => 'immutable_datetime',
        'created_at' => 'immutable_datetime',
        'updated_at' => 'immutable_datetime',
    ];

    /** @return BelongsTo<TenantVpnTunnel, self> */
    public function tenantVpnTunnel(): BelongsTo
    {
        return $this->belongsTo(config('sallyport.models.tunnel', TenantVpnTunnel::class), 'tenant_vpn_tunnel_id');
    }

    /** @param  Builder<self>  $query */
    public function scopeActive(Builder $query): void
    {
        $query->where('status', RouterStatus::Active->value);
    }

    /** @param  Builder<self>  $query */
    public function scopePending(Builder $query): void
    {
        $query->where('status', RouterStatus::Pending->value);
    }

    /** @param  Builder<self>  $query */
    public function scopeConnected(Builder $query): void
    {
        $since = CarbonImmutable::now('UTC')->subSeconds(self::CONNECTED_SECONDS);
        $query->where('last_handshake_at', '>', $since->format('Y-m-d\TH:i:s.u\Z'));
    }

    public function isConnected(): bool
    {
        return $this->last_handshake_at?->gt(CarbonImmutable::now()->subSeconds(self::CONNECTED_SECONDS)) ?? false;
    }

    /** @return array<string, string> */
    public static function ownedColumns(): array
    {
        $update = 'call Sallyport::routers()->update().';
        $rotate = 'call TenantVpnTunnelService::rotateRouterKeys().';
        $gateway = 'it is kept by the gateway.';

        return [
            'name' => $update,
            'lans' => $update,
            'status' => 'call TenantVpnTunnelService::disableRouterPeer() or enableRouterPeer().',
            'client_public_key' => $rotate,
            'client_private_key' => 'private keys are never stored; the one answer that makes a key pair holds it.',
            'preshared_key_sealed' => $rotate,
        ] +
            array_fill_keys(
                [
                    'id',
                    'tenant_id',
                    'tenant_vpn_tunnel_id',
                    'router_id',
                    'client_ip',
                    'hub_address',
                    'address6',
                    'server_ip',
                    'server_public_key',
                    'server_endpoint',
                    'server_port',
                    'last_handshake_at',
                    'handshake_stamp',
                    'endpoint',
                    'gateway_id',
                    'connected_since',
                    'bytes_received',
                    'bytes_sent',
                    'counted_received',
                    'counted_sent',
                    'counted_generation',
                    'created_at',
                    'updated_at',
                ],
                $gateway,
            );
    }

    public static function insteadOf(string $verb): string
    {
        return $verb === 'removed'
            ? 'call TenantVpnTunnelService::removeRouterPeer().'
            : 'call TenantVpnTunnelService::addRouterPeer().';
    }
}
