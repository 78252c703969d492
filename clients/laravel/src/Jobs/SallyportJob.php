<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldBeEncrypted;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\Jobs\SyncJob;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\RequestException;
use Sallyport\Laravel\Exceptions\UnavailableException;

/**
 * A change at the gateway that may wait in a queue. It is tried again, ever later, while the gateway is away; a refusal
 * ends it at once, since asking again would not help. Its payload is encrypted, as an Idempotency-Key gives access to
 * the answer that it belongs to.
 */
abstract class SallyportJob implements ShouldBeEncrypted, ShouldBeUnique, ShouldQueue
{
    use Dispatchable;
    use InteractsWithQueue;
    use Queueable;

    public int $tries = 12;

    /** Seconds after which another one is let in, should this one be lost. */
    public int $uniqueFor = 3600;

    public function __construct()
    {
        $this->onConnection(config('sallyport.queue.connection'));
        $this->onQueue(config('sallyport.queue.queue'));
    }

    /** @return list<int>  seconds */
    public function backoff(): array
    {
        return [1, 2, 5, 10, 30, 60, 120, 300];
    }

    abstract public function uniqueId(): string;

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
}
