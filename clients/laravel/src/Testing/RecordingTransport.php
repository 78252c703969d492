<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\Transport;

/** Passes requests to the gateway in memory and remembers them; refuses or vanishes as a test wishes. */
final class RecordingTransport implements Transport
{
    /** @var list<array{Request, Response}> */
    public array $exchanges = [];

    /** @var list<array{method: string, path: string, refusal: Refusal, times: int}> */
    public array $refusals = [];

    /** How many requests, from the next on, get no answer. */
    public int $lost = 0;

    /** Whether those that get no answer were carried out all the same. */
    public bool $lostAfterwards = false;
    public bool $recording = true;

    public function __construct(private readonly Transport $gateway)
    {
    }

    public function send(Request $request): Response
    {
        if ($this->lost > 0) {
            $this->lost -= $this->lost === PHP_INT_MAX ? 0 : 1;
            if ($this->lostAfterwards) {
                $this->carry($request);
            }

            throw new ConnectionException('Sallyport::fake()', 'the test made it vanish');
        }

        return $this->carry($request);
    }

    private function carry(Request $request): Response
    {
        $response = $this->refused($request) ?? $this->gateway->send($request);
        if ($this->recording) {
            $this->exchanges[] = [$request, $response];
        }

        return $response;
    }

    private function refused(Request $request): ?Response
    {
        foreach ($this->refusals as $i => $each) {
            if ($each['method'] === $request->method && fnmatch($each['path'], $request->path)) {
                if (--$this->refusals[$i]['times'] === 0) {
                    array_splice($this->refusals, $i, 1);
                }

                return $each['refusal']->response(['x-request-id' => 'fake']);
            }
        }

        return null;
    }
}
