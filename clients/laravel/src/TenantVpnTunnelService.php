<?php

declare(strict_types=1);

namespace Sallyport\Laravel;

use Illuminate\Support\Str;
use Sallyport\Laravel\Data\Limits;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Data\ProvisionedRouter;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\ConfigFormat;
use Sallyport\Laravel\Exceptions\ConflictException;
use Sallyport\Laravel\Exceptions\NotFoundException;
use Sallyport\Laravel\Models\TenantVpnTunnel;
use Sallyport\Laravel\Models\VpnConfiguration;
use SensitiveParameter;

/**
 * What code that ran `wg set` in a shell calls instead. Each method does at the gateway what its name says, and then
 * brings the model in line with it. When a method returns, the change is durable and the data plane has it, or will
 * have it as soon as it is back.
 */
class TenantVpnTunnelService
{
    public function __construct(protected readonly Client $sallyport, protected readonly Tables $tables)
    {
    }

    /**
     * Makes a tenant with an address space.
     *
     * @param  string|null  $subnet  private: its own prefix; unique: a wish within the pool
     *
     * @throws ConflictException  if there is one with this id
     */
    public function createTunnel(
        string $tenantId,
        ?string $name = null,
        ?Addressing $addressing = null,
        ?string $subnet = null,
        ?Limits $limits = null,
        ?bool $egress = null,
    ): TenantVpnTunnel {
        $tenant = new NewTenant($name ?? "tenant-{$tenantId}", $tenantId, $addressing, $subnet, $egress, $limits);

        return $this->tables->tunnel($this->sallyport->tenants()->create($tenant));
    }

    /** Final: its routers and their keys go too. */
    public function removeTunnel(TenantVpnTunnel $tunnel): void
    {
        $this->ignoringGone(fn () => $this->sallyport->tenants()->delete($tunnel->tenant_id));
        $this->tables->forgetTunnel($tunnel->tenant_id);
        $tunnel->exists = false;
    }

    /** Its routers lose their sessions and cannot connect until it is enabled. */
    public function disableTunnel(TenantVpnTunnel $tunnel): TenantVpnTunnel
    {
        return $this->tables->tunnel($this->sallyport->tenants()->disable($tunnel->tenant_id), $tunnel);
    }

    public function enableTunnel(TenantVpnTunnel $tunnel): TenantVpnTunnel
    {
        return $this->tables->tunnel($this->sallyport->tenants()->enable($tunnel->tenant_id), $tunnel);
    }

    /** The tenant as the gateway sees it now, with its usage. */
    public function tunnelStatus(TenantVpnTunnel $tunnel): Tenant
    {
        return $this->sallyport->tenants()->get($tunnel->tenant_id);
    }

    /**
     * Lets a router connect, as `wg set wg0 peer KEY allowed-ips ...` did. The configuration is a wish (router_id,
     * name, client_public_key, client_ip: each may be left out) and becomes the row that the gateway made. Called again
     * for a router that is there, it only makes sure that it may connect.
     *
     * @param  list<string>|null  $lans  prefixes behind the router
     * @param  string|null  $presharedKey  a key, or NewRouter::GENERATE
     */
    public function addRouterPeer(
        TenantVpnTunnel $tunnel,
        VpnConfiguration $configuration,
        ?array $lans = null,
        #[SensitiveParameter] ?string $presharedKey = null,
        ConfigFormat $format = ConfigFormat::WgQuick,
    ): ProvisionedRouter {
        $id = strtolower($configuration->router_id ?? (string) Str::orderedUuid());
        $wish = new NewRouter(
            name: $configuration->name ?? "router-{$id}",
            publicKey: $configuration->client_public_key,
            presharedKey: $presharedKey,
            // a host prefix is how wg writes an address
            address: $configuration->client_ip === null
                ? null
                : preg_replace('#/(32|128)$#', '', $configuration->client_ip),
            lans: $lans,
            id: $id,
        );
        try {
            $made = $this->sallyport->routers()->create($tunnel->tenant_id, $wish, format: $format);
        } catch (ConflictException $conflict) {
            $made = $this->existing($tunnel, $wish, $conflict, $format);
        }
        $this->tables->configuration($made->router, $configuration);

        return $made;
    }

    /** Ends a router for good, as `wg set wg0 peer KEY remove` did: its address is free again, its key is forgotten. */
    public function removeRouterPeer(VpnConfiguration $configuration): void
    {
        $this->ignoringGone(fn () => $this->sallyport->routers()->delete($configuration->router_id));
        $this->tables->forgetConfiguration($configuration->router_id);
        $configuration->exists = false;
    }

    /** It loses its session and cannot connect until it is enabled; its address and key stay its own. */
    public function disableRouterPeer(VpnConfiguration $configuration): VpnConfiguration
    {
        return $this->tables->configuration(
            $this->sallyport->routers()->disable($configuration->router_id),
            $configuration,
        );
    }

    public function enableRouterPeer(VpnConfiguration $configuration): VpnConfiguration
    {
        return $this->tables->configuration(
            $this->sallyport->routers()->enable($configuration->router_id),
            $configuration,
        );
    }

    /**
     * New keys; the old ones end at once.
     *
     * @param  string|null  $publicKey  null: a key pair is made, its private half is in the answer, this once
     * @param  string|null  $presharedKey  a key, or NewRouter::GENERATE; left out, it stays
     */
    public function rotateRouterKeys(
        VpnConfiguration $configuration,
        ?string $publicKey = null,
        #[SensitiveParameter] ?string $presharedKey = null,
        ConfigFormat $format = ConfigFormat::WgQuick,
    ): ProvisionedRouter {
        $made = $this->sallyport
            ->routers()
            ->rotate($configuration->router_id, $publicKey, $presharedKey, format: $format);
        $this->tables->configuration($made->router, $configuration);

        return $made;
    }

    /** The router as the gateway sees it now: connected or not, last handshake, bytes. */
    public function status(VpnConfiguration $configuration): Router
    {
        return $this->sallyport->routers()->get($configuration->router_id);
    }

    /** The text for the device, with a comment where its private key belongs. */
    public function configurationText(
        VpnConfiguration $configuration,
        ConfigFormat|string $format = ConfigFormat::WgQuick,
    ): string {
        return $this->sallyport->routers()->config($configuration->router_id, $format);
    }

    /** The router that is there already, if it is the one that was meant; what was refused otherwise. */
    private function existing(
        TenantVpnTunnel $tunnel,
        NewRouter $wish,
        ConflictException $conflict,
        ConfigFormat $format,
    ): ProvisionedRouter {
        $routers = $this->sallyport->routers();
        // its own address or key may be what collides
        $router = $routers->find((string) $wish->id);
        if (
            $router === null ||
            $router->tenantId !== strtolower($tunnel->tenant_id) ||
            ($wish->publicKey !== null && $wish->publicKey !== $router->publicKey)
        ) {
            throw $conflict;
        }
        if ($router->isDisabled()) {
            $router = $routers->enable($router->id);
        }

        return new ProvisionedRouter($router->toArray() + ['config' => $routers->config($router->id, $format)]);
    }

    private function ignoringGone(callable $remove): void
    {
        try {
            $remove();
        } catch (NotFoundException) {
            // what is gone need not be removed
        }
    }
}
