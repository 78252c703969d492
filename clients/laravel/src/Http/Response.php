<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Http;

use JsonException;
use Sallyport\Laravel\Exceptions\UnexpectedResponseException;

final class Response
{
    /** @param  array<string, string>  $headers  names in lower case */
    public function __construct(
        public readonly int $status,
        public readonly array $headers = [],
        public readonly string $body = '',
    ) {
    }

    public function successful(): bool
    {
        return $this->status >= 200 && $this->status < 300;
    }

    public function header(string $name): ?string
    {
        return $this->headers[strtolower($name)] ?? null;
    }

    /** @return array<string, mixed> */
    public function json(): array
    {
        try {
            $value = json_decode($this->body, true, 64, JSON_THROW_ON_ERROR);
        } catch (JsonException) {
            throw new UnexpectedResponseException($this);
        }

        return is_array($value) ? $value : throw new UnexpectedResponseException($this);
    }
}
