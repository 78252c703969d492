<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldBeEncrypted;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\Jobs\SyncJob;
use Illuminate\Support\Facades\Cache;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\RequestException;
use Sallyport\Laravel\Exceptions\UnavailableException;

/**
 * A change at the gateway that may wait in a queue. It is tried again, ever later, while the gateway is away; a refusal
 * ends it at once, since asking again would not help. Its payload is encrypted, as an Idempotency-Key gives access to
 * the answer that it belongs to.
 */
abstract class SallyportJob implements ShouldBeEncrypted, ShouldQueue
{
    use Dispatchable;
    use InteractsWithQueue;
    use Queueable;

    public int $tries = 12;

    /** Seconds after which another one is let in, should this one be lost: for those that are unique. */
    public int $uniqueFor = 3600;

    /** By this application's clocks: of two contrary wishes the later one counts, in whatever order they are tried. */
    public readonly float $wishedAt;

    public function __construct()
    {
        $this->wishedAt = microtime(true);
        $this->onConnection(config('sallyport.queue.connection'));
        $this->onQueue(config('sallyport.queue.queue'));
    }

    /** @return list<int>  seconds */
    public function backoff(): array
    {
        return [1, 2, 5, 10, 30, 60, 120, 300];
    }

    /** Does it, or ends the job if the gateway refuses. */
    final protected function attempt(callable $do): void
    {
        try {
            $do();
        } catch (UnavailableException | ConnectionException $later) {
            throw $later;
        } catch (RequestException $refused) {
            // whoever runs it at once wants to hear of it
            if ($this->job === null || $this->job instanceof SyncJob) {
                throw $refused;
            }
            $this->fail($refused);
        }
    }

    /**
     * Does it, unless a later wish for the same thing has been carried out already: a job that had to wait for another
     * try must not undo what was wished after it.
     */
    final protected function attemptUnlessOvertaken(string $what, callable $do): void
    {
        $cache = Cache::store();
        $key = "sallyport.wishes.{$what}";
        // longer than all tries of one request
        $lock = $cache->lock("{$key}.lock", 600);
        $lock->block(30, function () use ($cache, $key, $do): void {
            if ($cache->get($key, 0.0) > $this->wishedAt) {
                return;
            }
            $this->attempt(function () use ($cache, $key, $do): void {
                $do();
                $cache->put($key, $this->wishedAt, 86400);
            });
        });
    }
}
