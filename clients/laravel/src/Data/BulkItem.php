<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

/** What became of one item of a bulk request. */
final class BulkItem
{
    /**
     * @param  int  $index  the item's place among those given
     * @param  list<ProvisionedRouter>  $routers  of a tenant that was made, or the one router that was
     * @param  list<string>  $ids  all there is in a minimal answer: of the tenant and its routers, or of the router
     */
    public function __construct(
        public readonly int $index,
        public readonly int $status,
        public readonly ?Tenant $tenant = null,
        public readonly array $routers = [],
        public readonly array $ids = [],
        public readonly ?Problem $problem = null,
    ) {
    }

    /** @param  array<string, mixed>  $data */
    public static function fromArray(int $index, array $data): self
    {
        if (isset($data['problem'])) {
            return new self($index, $data['status'], problem: Problem::fromArray($data['problem']));
        }
        $tenant = isset($data['tenant']) ? new Tenant($data['tenant']) : null;
        $made = $data['routers'] ?? (isset($data['router']) ? [$data['router']] : []);
        $routers = array_map(static fn (array $router): ProvisionedRouter => new ProvisionedRouter($router), $made);
        $ids = isset($data['id'])
            ? [$data['id'], ...$data['router_ids'] ?? []]
            : [
                ...$tenant === null ? [] : [$tenant->id],
                ...array_map(static fn (ProvisionedRouter $made): string => $made->router->id, $routers),
            ];

        return new self($index, $data['status'], $tenant, $routers, $ids);
    }

    public function created(): bool
    {
        return $this->problem === null;
    }

    /** Of the tenant, or of the router where routers were made; null if it was refused. */
    public function id(): ?string
    {
        return $this->ids[0] ?? null;
    }

    /** The router, where routers were made in full. */
    public function router(): ?ProvisionedRouter
    {
        return $this->routers[0] ?? null;
    }
}
