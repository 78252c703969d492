<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Illuminate\Contracts\Support\Arrayable;
use Sallyport\Laravel\Support\RevealsSecrets;
use Sallyport\Laravel\Support\Secret;
use SensitiveParameter;

/**
 * A router to make. What is null is left to the gateway.
 *
 * @property-read string|null $presharedKey
 *
 * @implements Arrayable<string, mixed>
 */
final class NewRouter implements Arrayable
{
    use RevealsSecrets;

    /** A preshared key that the gateway makes; the configuration in the answer holds it. */
    public const GENERATE = 'generate';

    private readonly ?Secret $secret;

    /**
     * @param  string|null  $publicKey  null: a key pair is made, its private half is in the answer, this once
     * @param  string|null  $presharedKey  a key in base64, or self::GENERATE
     * @param  string|null  $address  a wish within the tenant's addresses
     * @param  list<string>|null  $lans  prefixes behind the router, such as 192.168.88.0/24
     * @param  string|null  $id  a UUID of the caller's choice
     * @param  string|null  $tenantId  only where routers of several tenants are made at once
     */
    public function __construct(
        public readonly string $name,
        public readonly ?string $publicKey = null,
        #[SensitiveParameter] ?string $presharedKey = null,
        public readonly ?string $address = null,
        public readonly ?array $lans = null,
        public readonly ?string $id = null,
        public readonly ?string $tenantId = null,
    ) {
        $this->secret = Secret::orNull($presharedKey);
    }

    /** @return array<string, mixed> */
    public function toArray(): array
    {
        $fields = [
            'tenant_id' => $this->tenantId,
            'id' => $this->id,
            'name' => $this->name,
            'public_key' => $this->publicKey,
            'preshared_key' => $this->presharedKey,
            'address' => $this->address,
            'lans' => $this->lans,
        ];

        return array_filter($fields, static fn (mixed $value): bool => $value !== null);
    }

    /** @return array<string, Secret|null> */
    private function secrets(): array
    {
        return ['presharedKey' => $this->secret];
    }
}
