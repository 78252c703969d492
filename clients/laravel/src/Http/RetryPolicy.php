<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Http;

use Closure;

/**
 * Whether and when a request is tried again. Waits grow from try to try with some chance in them, so that many workers
 * do not come back together; a Retry-After of the gateway is waited for in full, up to the longest wait.
 */
final class RetryPolicy
{
    private readonly Closure $sleep;

    /**
     * @param  int  $times  tries in all
     * @param  Closure(int): void|null  $sleep  waits so many milliseconds
     */
    public function __construct(
        public readonly int $times = 4,
        private readonly int $sleepMilliseconds = 200,
        private readonly int $maxSleepMilliseconds = 5000,
        ?Closure $sleep = null,
    ) {
        $this->sleep =
            $sleep ??
            static function (int $milliseconds): void {
                usleep($milliseconds * 1000);
            };
    }

    public static function never(): self
    {
        return new self(1);
    }

    public function again(int $try, ?Response $response): bool
    {
        return $try < $this->times && ($response === null || in_array($response->status, [429, 503], true));
    }

    /** Waits after the given try, counted from 1. */
    public function wait(int $try, ?Response $response): void
    {
        $after = $response?->header('Retry-After');
        $milliseconds =
            $after !== null && ctype_digit($after)
                ? (int) $after * 1000
                : random_int(intdiv($this->sleepMilliseconds, 2), $this->sleepMilliseconds) * 2 ** min($try - 1, 16);
        ($this->sleep)(min($milliseconds, $this->maxSleepMilliseconds));
    }
}
