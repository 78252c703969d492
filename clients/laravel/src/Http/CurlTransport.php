<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Http;

use CurlHandle;
use InvalidArgumentException;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Support\Secret;
use SensitiveParameter;

/**
 * Talks to the gateway over its Unix socket, or over TCP with a token. The connection is kept for the next request; a
 * process that forks (queue workers do) gets one of its own.
 */
final class CurlTransport implements Transport
{
    private ?CurlHandle $handle = null;
    private int $owner = 0;

    private function __construct(
        private readonly string $base,
        private readonly ?string $socket,
        private readonly ?Secret $token,
        private readonly ?string $ca,
        private readonly float $connectTimeout,
        private readonly float $timeout,
    ) {
    }

    public static function overSocket(string $path, float $connectTimeout = 5.0, float $timeout = 15.0): self
    {
        // sun_path of unix(7) holds 107 bytes and a zero
        if ($path === '' || strlen($path) > 107) {
            throw new InvalidArgumentException("The socket's path must have 1 to 107 bytes: \"{$path}\".");
        }

        return new self('http://localhost', $path, null, null, $connectTimeout, $timeout);
    }

    public static function overTcp(
        string $url,
        #[SensitiveParameter] ?string $token,
        ?string $ca = null,
        float $connectTimeout = 5.0,
        float $timeout = 15.0,
    ): self {
        $parts = parse_url($url);
        if (!in_array($parts['scheme'] ?? null, ['http', 'https'], true) || !isset($parts['host'])) {
            throw new InvalidArgumentException(
                "The gateway's URL must look like https://vpn.example.com:8443, not \"{$url}\".",
            );
        }
        if ($token !== null && preg_match('/[^\x21-\x7e]/', $token) === 1) {
            throw new InvalidArgumentException(
                'The token has characters that no token has; is there a line break in it?',
            );
        }

        return new self(rtrim($url, '/'), null, Secret::orNull($token), $ca, $connectTimeout, $timeout);
    }

    public function send(Request $request): Response
    {
        $handle = $this->handle();
        $headers = [];
        curl_setopt_array(
            $handle,
            $this->options($request) + [
                CURLOPT_HEADERFUNCTION => static function (CurlHandle $handle, string $line) use (&$headers): int {
                    [$name, $value] = explode(':', $line, 2) + [1 => null];
                    if ($value !== null) {
                        $headers[strtolower(trim($name))] = trim($value);
                    } elseif (str_starts_with($line, 'HTTP/')) {
                        $headers = [];
                    }

                    return strlen($line);
                },
            ],
        );
        $body = curl_exec($handle);
        if (!is_string($body)) {
            $error = new ConnectionException($this->where(), curl_error($handle), curl_errno($handle));
            $this->handle = null;

            throw $error;
        }

        return new Response(curl_getinfo($handle, CURLINFO_RESPONSE_CODE), $headers, $body);
    }

    /** What the configuration calls the gateway. */
    public function where(): string
    {
        return $this->socket ?? $this->base;
    }

    private function handle(): CurlHandle
    {
        if ($this->handle === null || $this->owner !== getmypid()) {
            $this->handle = curl_init();
            $this->owner = (int) getmypid();
        } else {
            curl_reset($this->handle);
        }

        return $this->handle;
    }

    /** @return array<int, mixed> */
    private function options(Request $request): array
    {
        $content = $request->content();
        $headers = ['Accept' => 'application/json', 'User-Agent' => 'sallyport-laravel'] + $request->headers;
        if ($content !== null) {
            $headers['Content-Type'] = 'application/json';
        }
        if ($this->token !== null) {
            $headers['Authorization'] = "Bearer {$this->token->reveal()}";
        }
        // an empty "Expect" keeps curl from asking first and waiting a second
        $headers['Expect'] = '';
        $options = [
            CURLOPT_URL => $this->base . $request->target(),
            CURLOPT_CUSTOMREQUEST => $request->method,
            CURLOPT_HTTPHEADER => array_map(
                static fn (string $name, string $value): string => $value === '' ? "{$name}:" : "{$name}: {$value}",
                array_keys($headers),
                $headers,
            ),
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_NOSIGNAL => true,
            CURLOPT_CONNECTTIMEOUT_MS => (int) ($this->connectTimeout * 1000),
            CURLOPT_TIMEOUT_MS => (int) (($this->timeout + ($request->timeout ?? 0.0)) * 1000),
        ];
        if ($content !== null) {
            $options[CURLOPT_POSTFIELDS] = $content;
        }
        if ($this->socket !== null) {
            $options[CURLOPT_UNIX_SOCKET_PATH] = $this->socket;
            // http_proxy is not meant for it
            $options[CURLOPT_PROXY] = '';
        }
        if ($this->ca !== null) {
            $options[CURLOPT_CAINFO] = $this->ca;
        }

        return $options;
    }
}
