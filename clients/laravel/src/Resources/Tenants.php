<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Resources;

use Illuminate\Support\LazyCollection;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\BulkResult;
use Sallyport\Laravel\Data\Limits;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\TenantStatus;
use Sallyport\Laravel\Exceptions\NotFoundException;

final class Tenants
{
    use CreatesMany;
    use Pages;

    public function __construct(private readonly Client $client)
    {
    }

    public function create(NewTenant $tenant, ?string $idempotencyKey = null): Tenant
    {
        return new Tenant($this->client->create('/v1/tenants', $tenant->toArray(), $idempotencyKey));
    }

    /**
     * Makes many with their routers. With $minimal the answer holds ids only; every router must bring its public key.
     * Each comes with at most 2,000 routers and LANs; make further ones with routers()->createManyFor().
     *
     * @param  iterable<NewTenant>  $tenants
     */
    public function createMany(iterable $tenants, bool $minimal = false, ?string $idempotencyKey = null): BulkResult
    {
        return $this->createInChunks('/v1/tenants/bulk', 'tenants', $tenants, $minimal, $idempotencyKey);
    }

    public function get(string $id): Tenant
    {
        return new Tenant($this->client->get($this->path($id)));
    }

    public function find(string $id): ?Tenant
    {
        try {
            return $this->get($id);
        } catch (NotFoundException) {
            return null;
        }
    }

    /** The oldest one of exactly this name. Names need not be unique. */
    public function findByName(string $name): ?Tenant
    {
        return $this->all(name: $name)->first();
    }

    /**
     * All, page by page as they are taken, in order of creation.
     *
     * @param  string|null  $contains  part of the name
     * @return LazyCollection<int, Tenant>
     */
    public function all(
        ?string $name = null,
        ?string $contains = null,
        ?Addressing $addressing = null,
        ?TenantStatus $status = null,
        int $perPage = 500,
    ): LazyCollection {
        return $this->pages(
            '/v1/tenants',
            [
                'name' => $name,
                'q' => $contains,
                'addressing' => $addressing?->value,
                'status' => $status?->value,
                'limit' => $perPage,
            ],
            static fn (array $item): Tenant => new Tenant($item),
        );
    }

    /** Changes what is not null. */
    public function update(string $id, ?string $name = null, ?bool $egress = null, ?Limits $limits = null): Tenant
    {
        $fields = ['name' => $name, 'egress' => $egress, 'limits' => $limits?->toArray()];

        return new Tenant(
            $this->client->patch(
                $this->path($id),
                array_filter($fields, static fn (mixed $value): bool => $value !== null),
            ),
        );
    }

    /** Its routers lose their sessions and cannot connect until it is enabled. */
    public function disable(string $id): Tenant
    {
        return new Tenant($this->client->post($this->path($id) . '/disable'));
    }

    public function enable(string $id): Tenant
    {
        return new Tenant($this->client->post($this->path($id) . '/enable'));
    }

    /** Final: its routers and their keys go too. */
    public function delete(string $id): void
    {
        $this->client->delete($this->path($id));
    }

    private function path(string $id): string
    {
        return '/v1/tenants/' . rawurlencode($id);
    }
}
