<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Console;

use Illuminate\Console\Command;
use Illuminate\Contracts\Events\Dispatcher;
use RuntimeException;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\Event;
use Sallyport\Laravel\Data\EventPage;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Events\ChangesMissed;
use Sallyport\Laravel\Events\Factory;
use Sallyport\Laravel\Exceptions\AuthenticationException;
use Sallyport\Laravel\Exceptions\AuthorizationException;
use Sallyport\Laravel\Exceptions\ConnectionException;
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

    /** Whether it began with what the gateway still keeps, so that nothing before it can be missed. */
    private bool $fromStart = false;

    private Client $sallyport;
    private Dispatcher $events;
    private EventPosition $position;

    public function handle(Client $sallyport, Dispatcher $events, EventPosition $position, Tables $tables): int
    {
        [$this->sallyport, $this->events, $this->position] = [$sallyport, $events, $position];
        $this->stopping = false;
        $from = (string) $this->option('from');
        if (!in_array($from, ['', 'now', 'start'], true) && !ctype_digit($from)) {
            $this->error("--from={$from}: it must be \"now\", \"start\" or a revision.");

            return 2;
        }
        $this->fromStart = $from === 'start';
        $this->stopOnSignals(true);
        try {
            return $this->follow($from, $tables);
        } finally {
            $this->stopOnSignals(false);
        }
    }

    private function follow(string $from, Tables $tables): int
    {
        $until = (int) $this->option('max-time') > 0 ? microtime(true) + (int) $this->option('max-time') : INF;
        $after = null;
        while (!$this->stopping && microtime(true) < $until) {
            try {
                $after ??= $this->start($from);
                $left = (int) max(0, min((int) $this->option('wait'), $until - microtime(true)));
                $page = $this->sallyport->events()->after($after, wait: $this->option('once') ? 0 : $left);
                if ($page->newest < $after) {
                    $after = $this->goBack($after, $page->newest);
                    continue;
                }
                $after = $this->skipGap($after, $page);
                foreach ($page->events as $event) {
                    $this->mirror($event, $tables);
                    $this->dispatch($event);
                    $this->position->put($after = $event->revision);
                    if ($this->stopping) {
                        return 0;
                    }
                }
            } catch (ConnectionException | UnavailableException $error) {
                // the client has tried several times already
                $this->warn($error->getMessage());
                if ($this->option('once')) {
                    return 1;
                }
                sleep(1);
                continue;
            } catch (AuthenticationException | AuthorizationException $error) {
                $this->error($error->getMessage());

                return 1;
            }
            if ($page->nextAfter > $after) {
                $this->position->put($after = $page->nextAfter);
            }
            if ($this->option('once') && $page->events === []) {
                break;
            }
        }

        return 0;
    }

    private function start(string $from): int
    {
        $after = match (true) {
            $from === 'start' => 0,
            ctype_digit($from) => (int) $from,
            $from === 'now' => $this->sallyport->events()->latest(),
            default => $this->position->get() ?? $this->sallyport->events()->latest(),
        };
        $this->position->put($after);

        return $after;
    }

    /** The gateway's database is another one, or was put back from a backup: revisions beyond are given anew. */
    private function goBack(int $after, int $newest): int
    {
        $this->warn("The gateway is at revision {$newest}, and this was at {$after} before: its database is " .
            'another one, or was put back from a backup. Going on from there.');
        $this->missed($after, $newest);
        $this->position->put($newest);

        return $newest;
    }

    /** The gateway keeps so many changes; who stayed away for longer has missed some. */
    private function skipGap(int $after, EventPage $page): int
    {
        if ($after >= $page->oldest - 1 || ($this->fromStart && $after === 0)) {
            return $after;
        }
        $this->warn("The changes between {$after} and {$page->oldest} are no longer kept by the gateway.");
        $this->missed($after, $page->oldest);
        $this->position->put($page->oldest - 1);

        return $page->oldest - 1;
    }

    private function missed(int $after, int $before): void
    {
        if (config('sallyport.database.mode') === 'mirror' && $this->call('sallyport:sync') !== 0) {
            // the place is not kept, so the next run finds the same gap
            throw new RuntimeException('The copies could not be taken anew; see above.');
        }
        $this->events->dispatch(new ChangesMissed($after, $before));
    }

    private function dispatch(Event $event): void
    {
        $this->line("{$event->revision} {$event->kind} {$event->tenantId} {$event->routerId}", null, 'v');
        $this->events->dispatch(Factory::make($event));
    }

    /** Before listeners hear of it: they see the row as it is after the change. */
    private function mirror(Event $event, Tables $tables): void
    {
        if (config('sallyport.database.mode') !== 'mirror') {
            return;
        }
        if ($event->routerId !== null) {
            $router = $this->sallyport->routers()->find($event->routerId);
            $router === null ? $tables->forgetConfiguration($event->routerId) : $tables->configuration($router);
        }
        if ($event->tenantId !== null) {
            $tenant = $this->sallyport->tenants()->find($event->tenantId);
            $tenant === null ? $tables->forgetTunnel($event->tenantId) : $tables->tunnel($tenant);
        }
    }

    private function stopOnSignals(bool $on): void
    {
        if (!function_exists('pcntl_async_signals')) {
            return;
        }
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, $on ? $this->stop(...) : SIG_DFL);
        }
    }

    private function stop(): void
    {
        $this->stopping = true;
    }
}
