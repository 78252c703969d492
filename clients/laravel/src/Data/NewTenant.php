<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Illuminate\Contracts\Support\Arrayable;
use Sallyport\Laravel\Enums\Addressing;

/**
 * A tenant to make. What is null is left to the gateway.
 *
 * @implements Arrayable<string, mixed>
 */
final class NewTenant implements Arrayable
{
    /**
     * @param  string|null  $id  a UUID of the caller's choice
     * @param  string|null  $subnet  private: its own prefix, else 10.100.0.0/16; unique: a wish within the pool
     * @param  list<NewRouter>  $routers  made with it, in bulk requests only
     */
    public function __construct(
        public readonly string $name,
        public readonly ?string $id = null,
        public readonly ?Addressing $addressing = null,
        public readonly ?string $subnet = null,
        public readonly ?bool $egress = null,
        public readonly ?Limits $limits = null,
        public readonly array $routers = [],
    ) {
    }

    /** @return array<string, mixed> */
    public function toArray(): array
    {
        $fields = [
            'id' => $this->id,
            'name' => $this->name,
            'addressing' => $this->addressing?->value,
            'subnet' => $this->subnet,
            'egress' => $this->egress,
            'limits' => $this->limits?->toArray(),
            'routers' =>
                $this->routers === []
                    ? null
                    : array_map(static fn (NewRouter $router): array => $router->toArray(), $this->routers),
        ];

        return array_filter($fields, static fn (mixed $value): bool => $value !== null);
    }
}
