<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

use RuntimeException;
use Sallyport\Laravel\Http\Response;

/** How the gateway in memory gets from the depth of a request to its refusal. */
final class Refusal extends RuntimeException
{
    public function __construct(
        public readonly int $status,
        public readonly string $type,
        public readonly string $detail,
        public readonly ?string $field = null,
        public readonly ?int $retryAfter = null,
    ) {
        parent::__construct($detail);
    }

    /** @return array<string, mixed> */
    public function problem(): array
    {
        return [
            'type' => "urn:sallyport:problem:{$this->type}",
            'title' => ucfirst(str_replace('-', ' ', $this->type)),
            'status' => $this->status,
            'detail' => $this->detail,
        ] + ($this->field === null ? [] : ['field' => $this->field]);
    }

    /** @param  array<string, string>  $headers */
    public function response(array $headers): Response
    {
        $after = $this->retryAfter ?? ($this->status === 503 ? 1 : null);

        return new Response(
            $this->status,
            ['content-type' => 'application/problem+json'] +
                ($after === null ? [] : ['retry-after' => (string) $after]) +
                ($this->status === 401 ? ['www-authenticate' => 'Bearer'] : []) +
                $headers,
            json_encode($this->problem(), JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES),
        );
    }
}
