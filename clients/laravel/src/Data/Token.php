<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;
use Sallyport\Laravel\Enums\TokenScope;

final class Token extends Record
{
    public readonly string $id;
    public readonly string $name;
    public readonly TokenScope $scope;
    public readonly ?string $tenantId;
    public readonly CarbonImmutable $createdAt;
    public readonly ?CarbonImmutable $expiresAt;
    public readonly ?CarbonImmutable $lastUsedAt;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->id = $data['id'];
        $this->name = $data['name'];
        $this->scope = TokenScope::from($data['scope']);
        $this->tenantId = $data['tenant_id'];
        $this->createdAt = CarbonImmutable::parse($data['created_at']);
        $this->expiresAt = self::time($data['expires_at']);
        $this->lastUsedAt = self::time($data['last_used_at']);
    }
}
