<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;

/** A change, as the gateway's feed tells it. */
final class Event extends Record
{
    /** Without gaps over all changes, in the order in which they became durable. */
    public readonly int $revision;
    public readonly CarbonImmutable $at;

    /** Such as "router.created". */
    public readonly string $kind;
    public readonly ?string $tenantId;
    public readonly ?string $routerId;

    /** "uid:0" on the Unix socket, "token:NAME" with a token. */
    public readonly string $actor;

    /** The token that it was done with: names are not unique. Null on the Unix socket, or if the gateway did not say. */
    public readonly ?string $tokenId;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->revision = $data['revision'];
        $this->at = CarbonImmutable::parse($data['at']);
        $this->kind = $data['kind'];
        $this->tenantId = $data['tenant_id'];
        $this->routerId = $data['router_id'];
        $this->actor = $data['actor'];
        $this->tokenId = $data['token_id'] ?? null;
    }
}
