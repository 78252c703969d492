<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Support\Str;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Events\RouterProvisioned;
use Sallyport\Laravel\Support\Secret;
use SensitiveParameter;

/** Gives a router new keys, and dispatches RouterProvisioned with its configuration. */
final class RotateRouterKeys extends SallyportJob
{
    public readonly string $idempotencyKey;
    private readonly ?Secret $presharedKey;

    public function __construct(
        public readonly string $routerId,
        public readonly ?string $publicKey = null,
        #[SensitiveParameter] ?string $presharedKey = null,
        ?string $idempotencyKey = null,
    ) {
        parent::__construct();
        $this->presharedKey = Secret::orNull($presharedKey);
        $this->idempotencyKey = $idempotencyKey ?? (string) Str::uuid();
    }

    public function handle(Client $sallyport, Tables $tables, Dispatcher $events): void
    {
        $this->attemptUnlessOvertaken("keys.{$this->routerId}", function () use ($sallyport, $tables, $events): void {
            $made = $sallyport
                ->routers()
                ->rotate($this->routerId, $this->publicKey, $this->presharedKey?->reveal(), $this->idempotencyKey);
            $tables->configuration($made->router);
            $events->dispatch(new RouterProvisioned($made, rotated: true));
        });
    }
}
