<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Support\Str;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Events\RouterProvisioned;

/** Lets a router connect, and dispatches RouterProvisioned with its configuration. */
final class AddRouterPeer extends SallyportJob implements ShouldBeUnique
{
    public readonly string $idempotencyKey;

    public function __construct(
        public readonly string $tenantId,
        public readonly NewRouter $router,
        ?string $idempotencyKey = null,
    ) {
        parent::__construct();
        $this->idempotencyKey = $idempotencyKey ?? (string) Str::uuid();
    }

    /** Of the whole wish: two routers may have one name, and only the very same wish is one too many. */
    public function uniqueId(): string
    {
        return hash('sha256', $this->tenantId . serialize($this->router->toArray()));
    }

    public function handle(Client $sallyport, Tables $tables, Dispatcher $events): void
    {
        $this->attempt(function () use ($sallyport, $tables, $events): void {
            $made = $sallyport->routers()->create($this->tenantId, $this->router, $this->idempotencyKey);
            $tables->configuration($made->router);
            $events->dispatch(new RouterProvisioned($made));
        });
    }
}
