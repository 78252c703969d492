<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\Transport;

/** A transport that answers what it was told, in order, and keeps what it was asked. */
final class Scripted implements Transport
{
    /** @var list<Request> */
    public array $requests = [];

    /** @param  list<Response|null>  $answers  null: no answer */
    public function __construct(private array $answers)
    {
    }

    public function send(Request $request): Response
    {
        $this->requests[] = $request;
        $answer = array_shift($this->answers);

        return $answer ?? throw new ConnectionException('/run/sallyport/api.sock', 'Connection refused');
    }

    public static function problem(int $status, string $type, array $more = [], array $headers = []): Response
    {
        $body =
            ['type' => "urn:sallyport:problem:{$type}", 'title' => $type, 'status' => $status, 'detail' => 'Because.'] +
            $more;

        return new Response(
            $status,
            ['content-type' => 'application/problem+json', 'x-request-id' => 'r1'] + $headers,
            json_encode($body),
        );
    }

    public static function json(array $body, int $status = 200): Response
    {
        return new Response($status, ['content-type' => 'application/json'], json_encode($body));
    }
}
