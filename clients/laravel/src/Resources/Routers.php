<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Resources;

use Illuminate\Support\LazyCollection;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\BulkResult;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\ProvisionedRouter;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Enums\ConfigFormat;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Exceptions\NotFoundException;
use Sallyport\Laravel\Http\Request;
use SensitiveParameter;

final class Routers
{
    use CreatesMany;
    use Pages;

    public function __construct(private readonly Client $client)
    {
    }

    /** @param  ConfigFormat  $format  of the configuration in the answer, which alone holds a private key made here */
    public function create(
        string $tenantId,
        NewRouter $router,
        ?string $idempotencyKey = null,
        ConfigFormat $format = ConfigFormat::WgQuick,
    ): ProvisionedRouter {
        $fields = $router->toArray();
        unset($fields['tenant_id']);

        return new ProvisionedRouter(
            $this->client->create($this->ofTenant($tenantId), $fields, $idempotencyKey, self::inForm($format)),
        );
    }

    /**
     * Makes many, in any tenants. With $minimal the answer holds ids only, and every router must bring its public key.
     *
     * @param  iterable<NewRouter>  $routers  each with its tenant's id
     */
    public function createMany(iterable $routers, bool $minimal = false, ?string $idempotencyKey = null): BulkResult
    {
        return $this->createInChunks('/v1/routers/bulk', 'routers', $routers, $minimal, $idempotencyKey);
    }

    /** @param  iterable<NewRouter>  $routers  without a tenant's id */
    public function createManyFor(
        string $tenantId,
        iterable $routers,
        bool $minimal = false,
        ?string $idempotencyKey = null,
    ): BulkResult {
        return $this->createInChunks(
            $this->ofTenant($tenantId) . '/bulk',
            'routers',
            $routers,
            $minimal,
            $idempotencyKey,
        );
    }

    public function get(string $id): Router
    {
        return new Router($this->client->get($this->path($id)));
    }

    public function find(string $id): ?Router
    {
        try {
            return $this->get($id);
        } catch (NotFoundException) {
            return null;
        }
    }

    public function findByPublicKey(string $publicKey): ?Router
    {
        return $this->all(publicKey: $publicKey)->first();
    }

    /** The oldest one of exactly this name. Names need not be unique. */
    public function findByName(string $name, ?string $tenantId = null): ?Router
    {
        return $this->all(tenantId: $tenantId, name: $name)->first();
    }

    /**
     * All, page by page as they are taken, in order of creation.
     *
     * @param  string|null  $contains  part of the name
     * @param  bool|null  $connected  had a handshake within the last 180 seconds
     * @param  string|null  $address  tunnel or hub address
     * @return LazyCollection<int, Router>
     */
    public function all(
        ?string $tenantId = null,
        ?string $name = null,
        ?string $contains = null,
        ?RouterStatus $status = null,
        ?bool $connected = null,
        ?string $publicKey = null,
        ?string $address = null,
        int $perPage = 500,
    ): LazyCollection {
        return $this->pages(
            $tenantId === null ? '/v1/routers' : $this->ofTenant($tenantId),
            [
                'name' => $name,
                'q' => $contains,
                'status' => $status?->value,
                'connected' => $connected,
                'public_key' => $publicKey,
                'address' => $address,
                'limit' => $perPage,
            ],
            static fn (array $item): Router => new Router($item),
        );
    }

    /**
     * Changes what is not null.
     *
     * @param  list<string>|null  $lans
     */
    public function update(string $id, ?string $name = null, ?array $lans = null): Router
    {
        $fields = ['name' => $name, 'lans' => $lans];

        return new Router(
            $this->client->patch(
                $this->path($id),
                array_filter($fields, static fn (mixed $value): bool => $value !== null),
            ),
        );
    }

    /** It loses its session and cannot connect until it is enabled. */
    public function disable(string $id): Router
    {
        return new Router($this->client->post($this->path($id) . '/disable'));
    }

    public function enable(string $id): Router
    {
        return new Router($this->client->post($this->path($id) . '/enable'));
    }

    /**
     * New keys; the old ones end at once. A preshared key that is not given stays.
     *
     * @param  string|null  $publicKey  null: a key pair is made, its private half is in the answer, this once
     */
    public function rotate(
        string $id,
        ?string $publicKey = null,
        #[SensitiveParameter] ?string $presharedKey = null,
        ?string $idempotencyKey = null,
        ConfigFormat $format = ConfigFormat::WgQuick,
    ): ProvisionedRouter {
        $fields = array_filter(
            ['public_key' => $publicKey, 'preshared_key' => $presharedKey],
            static fn (?string $value): bool => $value !== null,
        );

        return new ProvisionedRouter(
            $this->client->create($this->path($id) . '/rotate', $fields, $idempotencyKey, self::inForm($format)),
        );
    }

    /**
     * The text for the device, without its private key, which only the router knows: a comment stands where it belongs,
     * and a script uses the one that the router has or makes one.
     */
    public function config(string $id, ConfigFormat|string $format = ConfigFormat::WgQuick): string
    {
        $name = $format instanceof ConfigFormat ? $format->value : $format;

        return $this->client->send(new Request('GET', $this->path($id) . '/config', ['format' => $name]))->body;
    }

    /** Final: its address is free again, its key is forgotten. */
    public function delete(string $id): void
    {
        $this->client->delete($this->path($id));
    }

    /** @return array<string, string> */
    private static function inForm(ConfigFormat $format): array
    {
        return $format === ConfigFormat::WgQuick ? [] : ['format' => $format->value];
    }

    private function path(string $id): string
    {
        return '/v1/routers/' . rawurlencode($id);
    }

    private function ofTenant(string $id): string
    {
        return '/v1/tenants/' . rawurlencode($id) . '/routers';
    }
}
