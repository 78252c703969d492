<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

use Sallyport\Laravel\Data\Problem;
use Sallyport\Laravel\Http\Response;

/** A refusal: the gateway answered with a problem (RFC 9457). Nothing was changed. */
class RequestException extends SallyportException
{
    final public function __construct(
        public readonly Problem $problem,
        public readonly ?string $requestId = null,
        public readonly ?int $retryAfter = null,
    ) {
        parent::__construct(
            $problem->field === null ? $problem->detail : "{$problem->field}: {$problem->detail}",
            $problem->status,
        );
    }

    /** The class that goes with the answer's status. */
    public static function from(Response $response): SallyportException
    {
        if (!str_starts_with($response->header('Content-Type') ?? '', 'application/problem+json')) {
            return new UnexpectedResponseException($response);
        }
        $after = $response->header('Retry-After');

        return self::of(
            Problem::fromArray($response->json()),
            $response->header('X-Request-Id'),
            $after !== null && ctype_digit($after) ? (int) $after : null,
        );
    }

    public static function of(Problem $problem, ?string $requestId = null, ?int $retryAfter = null): self
    {
        $class = match (true) {
            $problem->status === 401 => AuthenticationException::class,
            $problem->status === 403 => AuthorizationException::class,
            $problem->status === 404 => NotFoundException::class,
            $problem->status === 409 => ConflictException::class,
            $problem->status === 422 => ValidationException::class,
            $problem->status === 429, $problem->status === 503 => UnavailableException::class,
            default => self::class,
        };

        return new $class($problem, $requestId, $retryAfter);
    }

    public function status(): int
    {
        return $this->problem->status;
    }

    /** The problem's stable name, such as "duplicate-public-key". */
    public function type(): string
    {
        return $this->problem->name();
    }

    public function is(string ...$types): bool
    {
        return in_array($this->type(), $types, true);
    }

    /** The path of the offending field, such as "routers[3].lans[1]". */
    public function field(): ?string
    {
        return $this->problem->field;
    }

    /** @return array<string, list<string>>  as a MessageBag has them, keys in dot notation */
    public function errors(): array
    {
        return $this->problem->errors();
    }

    /** @return array<string, mixed>  for the log */
    public function context(): array
    {
        return array_filter(
            ['problem' => $this->problem->toArray(), 'request_id' => $this->requestId],
            static fn (mixed $value): bool => $value !== null,
        );
    }
}
