<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Resources;

use DateTimeInterface;
use DateTimeZone;
use DateTimeImmutable;
use Illuminate\Support\Collection;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewToken;
use Sallyport\Laravel\Data\Token;
use Sallyport\Laravel\Enums\TokenScope;

final class Tokens
{
    public function __construct(private readonly Client $client)
    {
    }

    /** @param  string|null  $tenantId  required for the tenant scopes, and only for them */
    public function create(
        string $name,
        TokenScope $scope,
        ?string $tenantId = null,
        ?DateTimeInterface $expiresAt = null,
        ?string $idempotencyKey = null,
    ): NewToken {
        $fields = [
            'name' => $name,
            'scope' => $scope->value,
            'tenant_id' => $tenantId,
            'expires_at' =>
                $expiresAt === null
                    ? null
                    : DateTimeImmutable::createFromInterface($expiresAt)
                        ->setTimezone(new DateTimeZone('UTC'))
                        ->format('Y-m-d\TH:i:s.u\Z'),
        ];

        return new NewToken(
            $this->client->create(
                '/v1/tokens',
                array_filter($fields, static fn (?string $value): bool => $value !== null),
                $idempotencyKey,
            ),
        );
    }

    /** @return Collection<int, Token> */
    public function all(): Collection
    {
        return (new Collection($this->client->get('/v1/tokens')['items']))->map(
            static fn (array $item): Token => new Token($item),
        );
    }

    public function revoke(string $id): void
    {
        $this->client->delete('/v1/tokens/' . rawurlencode($id));
    }
}
