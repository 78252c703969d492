<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Http;

final class Request
{
    /**
     * @param  string  $path  below the gateway, such as "/v1/tenants"
     * @param  array<string, scalar|null>  $query  without those that are null
     * @param  array<string, mixed>|null  $body  sent as a JSON object
     * @param  array<string, string>  $headers
     * @param  float|null  $timeout  seconds, beyond the configured ones
     */
    public function __construct(
        public readonly string $method,
        public readonly string $path,
        public readonly array $query = [],
        public readonly ?array $body = null,
        public readonly array $headers = [],
        public readonly ?float $timeout = null,
    ) {
    }

    /** Path and query as they stand in the request line. */
    public function target(): string
    {
        $query = array_map(
            static fn (string|int|float|bool $value): string => is_bool($value)
                ? ($value
                    ? 'true'
                    : 'false')
                : (string) $value,
            array_filter($this->query, static fn (mixed $value): bool => $value !== null),
        );

        return $query === [] ? $this->path : $this->path . '?' . http_build_query($query, '', '&', PHP_QUERY_RFC3986);
    }

    public function content(): ?string
    {
        return $this->body === null
            ? null
            : json_encode((object) $this->body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
    }
}
