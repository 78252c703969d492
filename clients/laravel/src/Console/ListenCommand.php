<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Console;

use Illuminate\Console\Command;
use Illuminate\Contracts\Events\Dispatcher;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Event;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Events\Factory;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\SallyportException;
use Sallyport\Laravel\Exceptions\UnavailableException;

final class ListenCommand extends Command
{
    protected $signature = 'sallyport:listen
        {--from= : "now", "start" or a revision, instead of where it left off}
        {--once : end when there is nothing new}
        {--max-time=0 : end after so many seconds}
        {--wait=25 : seconds that the gateway keeps a question open, up to 30}';

    protected $description = 'Follow the gateway\'s changes and dispatch them as events';

    private bool $stopping = false;

    public function handle(Client $sallyport, Dispatcher $events, EventPosition $position, Tables $tables): int
    {
        $from = (string) $this->option('from');
        if (!in_array($from, ['', 'now', 'start'], true) && !ctype_digit($from)) {
            $this->error("--from={$from}: it must be \"now\", \"start\" or a revision.");

            return 2;
        }
        $this->stopOnSignals();
        $until = (int) $this->option('max-time') > 0 ? microtime(true) + (int) $this->option('max-time') : INF;
        $after = null;
        do {
            try {
                if ($after === null) {
                    $position->put($after = $this->start($from, $sallyport, $position));
                }
                $left = (int) max(0, min((int) $this->option('wait'), $until - microtime(true)));
                $page = $sallyport->events()->after($after, wait: $this->option('once') ? 0 : $left);
            } catch (ConnectionException | UnavailableException $error) {
                // the client has tried several times already
                $this->warn($error->getMessage());
                if ($this->option('once')) {
                    return 1;
                }
                sleep(1);
                continue;
            } catch (SallyportException $error) {
                $this->error($error->getMessage());

                return 1;
            }
            foreach ($page->events as $event) {
                $this->deliver($event, $sallyport, $events, $tables);
                $position->put($after = $event->revision);
                if ($this->stopping) {
                    return 0;
                }
            }
            if ($page->nextAfter > $after) {
                $position->put($after = $page->nextAfter);
            }
        } while (!$this->stopping && microtime(true) < $until && !($this->option('once') && $page->events === []));

        return 0;
    }

    private function start(string $from, Client $sallyport, EventPosition $position): int
    {
        return match (true) {
            $from === 'start' => 0,
            ctype_digit($from) => (int) $from,
            $from === 'now' => $sallyport->events()->latest(),
            default => $position->get() ?? $sallyport->events()->latest(),
        };
    }

    /** Tables first: a listener sees the row as it is after the change. */
    private function deliver(Event $event, Client $sallyport, Dispatcher $events, Tables $tables): void
    {
        $this->line("{$event->revision} {$event->kind} {$event->tenantId} {$event->routerId}", null, 'v');
        if (config('sallyport.database.mode') === 'mirror') {
            $this->mirror($event, $sallyport, $tables);
        }
        $events->dispatch(Factory::make($event));
    }

    private function mirror(Event $event, Client $sallyport, Tables $tables): void
    {
        if ($event->routerId !== null) {
            $router = $sallyport->routers()->find($event->routerId);
            $router === null ? $tables->forgetConfiguration($event->routerId) : $tables->configuration($router);
        }
        if ($event->tenantId !== null) {
            $tenant = $sallyport->tenants()->find($event->tenantId);
            $tenant === null ? $tables->forgetTunnel($event->tenantId) : $tables->tunnel($tenant);
        }
    }

    private function stopOnSignals(): void
    {
        if (!function_exists('pcntl_async_signals')) {
            return;
        }
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, function (): void {
                $this->stopping = true;
            });
        }
    }
}
