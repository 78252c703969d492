<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Support\Str;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Events\RouterProvisioned;
use SensitiveParameter;

/** Gives a router new keys, and dispatches RouterProvisioned with its configuration. */
final class RotateRouterKeys extends SallyportJob
{
    public readonly string $idempotencyKey;

    public function __construct(
        public readonly string $routerId,
        public readonly ?string $publicKey = null,
        #[SensitiveParameter] private readonly ?string $presharedKey = null,
        ?string $idempotencyKey = null,
    ) {
        parent::__construct();
        $this->idempotencyKey = $idempotencyKey ?? (string) Str::uuid();
    }

    public function uniqueId(): string
    {
        return $this->routerId;
    }

    public function handle(Client $sallyport, Tables $tables, Dispatcher $events): void
    {
        $this->attempt(function () use ($sallyport, $tables, $events): void {
            $made = $sallyport
                ->routers()
                ->rotate($this->routerId, $this->publicKey, $this->presharedKey, $this->idempotencyKey);
            $tables->configuration($made->router);
            $events->dispatch(new RouterProvisioned($made, rotated: true));
        });
    }
}
