<?php

declare(strict_types=1);

namespace Sallyport\Laravel;

use Closure;
use Illuminate\Support\Collection;
use Illuminate\Support\Str;
use Sallyport\Laravel\Data\Gateway;
use Sallyport\Laravel\Data\Health;
use Sallyport\Laravel\Data\Status;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\RequestException;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\RetryPolicy;
use Sallyport\Laravel\Http\Transport;
use Sallyport\Laravel\Resources\Events;
use Sallyport\Laravel\Resources\Routers;
use Sallyport\Laravel\Resources\Tenants;
use Sallyport\Laravel\Resources\Tokens;
use SensitiveParameter;

/** The gateway's API. Every call either did what it says or throws a SallyportException. */
class Client
{
    /** @param  Closure(string, int): void|null  $onStale  is told path and seconds of answers from memory */
    public function __construct(
        private readonly Transport $transport,
        private readonly RetryPolicy $retries = new RetryPolicy(),
        private readonly ?Closure $onStale = null,
    ) {
    }

    public function tenants(): Tenants
    {
        return new Tenants($this);
    }

    public function routers(): Routers
    {
        return new Routers($this);
    }

    public function tokens(): Tokens
    {
        return new Tokens($this);
    }

    public function events(): Events
    {
        return new Events($this);
    }

    /** Whether the gateway works; needs no token and is not retried. */
    public function health(): Health
    {
        $response = $this->transport->send(new Request('GET', '/v1/health'));

        return in_array($response->status, [200, 503], true) && array_key_exists('backend', $response->json())
            ? new Health($response->json())
            : throw RequestException::from($response);
    }

    public function status(): Status
    {
        return new Status($this->get('/v1/status'));
    }

    /** @return Collection<int, Gateway>  all that use the gateway's database */
    public function gateways(): Collection
    {
        return (new Collection($this->get('/v1/gateways')['items']))->map(
            static fn (array $item): Gateway => new Gateway($item),
        );
    }

    /** @return array<string, int>  what the data plane counted since it was started, by name */
    public function counters(): array
    {
        return $this->get('/v1/counters')['counters'];
    }

    /** @return array<string, mixed>  the OpenAPI document */
    public function document(): array
    {
        return $this->get('/v1/openapi.json');
    }

    /**
     * @param  array<string, scalar|null>  $query
     * @return array<string, mixed>
     */
    public function get(string $path, array $query = [], ?float $timeout = null): array
    {
        return $this->send(new Request('GET', $path, $query, timeout: $timeout))->json();
    }

    /**
     * Makes something: always with an Idempotency-Key, so that no retry makes it twice.
     *
     * @param  array<string, mixed>  $body
     * @param  string|null  $idempotencyKey  give it to make the same call safe to repeat beyond this one
     * @param  array<string, scalar|null>  $query
     * @param  float|null  $timeout  seconds, beyond the configured ones
     * @return array<string, mixed>
     */
    public function create(
        string $path,
        #[SensitiveParameter] array $body,
        ?string $idempotencyKey = null,
        array $query = [],
        ?float $timeout = null,
    ): array {
        $headers = ['Idempotency-Key' => $idempotencyKey ?? (string) Str::uuid()];

        return $this->send(new Request('POST', $path, $query, $body, $headers, $timeout))->json();
    }

    /** @return array<string, mixed> */
    public function post(string $path): array
    {
        return $this->send(new Request('POST', $path))->json();
    }

    /**
     * @param  array<string, mixed>  $body
     * @return array<string, mixed>
     */
    public function patch(string $path, array $body): array
    {
        return $this->send(new Request('PATCH', $path, [], $body))->json();
    }

    public function delete(string $path): void
    {
        $this->send(new Request('DELETE', $path));
    }

    /** Sends with retries. All that is sent through here may be repeated without harm. */
    public function send(Request $request): Response
    {
        for ($try = 1;; $try++) {
            $response = $error = null;
            try {
                $response = $this->transport->send($request);
                if ($response->successful()) {
                    $this->tellStale($request, $response);

                    return $response;
                }
                // a try before this one removed it and its answer was lost
                if ($try > 1 && $request->method === 'DELETE' && $response->status === 404) {
                    return new Response(204);
                }
            } catch (ConnectionException $error) {
            }
            if (!$this->retries->again($try, $response)) {
                throw $error ?? RequestException::from($response);
            }
            $this->retries->wait($try, $response);
        }
    }

    /** While its database is away, the gateway answers from memory and says since when. */
    private function tellStale(Request $request, Response $response): void
    {
        $age = $response->header('Age');
        if ($this->onStale !== null && $age !== null && ctype_digit($age)) {
            ($this->onStale)($request->path, (int) $age);
        }
    }
}
