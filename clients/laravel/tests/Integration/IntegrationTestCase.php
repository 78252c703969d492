<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Integration;

use Sallyport\Laravel\Client;
use Sallyport\Laravel\Http\CurlTransport;
use Sallyport\Laravel\Tests\TestCase;

/** With a gateway that tests/laravel/run of Sallyport's sources started; skipped without it. */
abstract class IntegrationTestCase extends TestCase
{
    protected function setUp(): void
    {
        if (getenv('SALLYPORT_TEST_SOCKET') === false) {
            self::markTestSkipped('No gateway: run tests/laravel/run of Sallyport\'s sources.');
        }
        parent::setUp();
        config(['sallyport.socket' => self::given('SOCKET')]);
    }

    protected function tearDown(): void
    {
        if (isset($this->app)) {
            parent::tearDown();
        }
    }

    protected static function given(string $name): string
    {
        return (string) getenv("SALLYPORT_TEST_{$name}");
    }

    protected static function key(): string
    {
        return base64_encode(sodium_crypto_scalarmult_base(random_bytes(32)));
    }

    protected function sallyport(): Client
    {
        return $this->app->make(Client::class);
    }

    protected static function overTcp(?string $token): Client
    {
        return new Client(CurlTransport::overTcp(self::given('URL'), $token));
    }

    /** @template T @param  callable(): T  $ready @return T  the first that is true */
    protected static function eventually(callable $ready, float $seconds = 10.0): mixed
    {
        $until = microtime(true) + $seconds;
        do {
            $value = $ready();
            if ($value) {
                return $value;
            }
            usleep(20_000);
        } while (microtime(true) < $until);
        self::fail("Not within {$seconds} s.");
    }
}
