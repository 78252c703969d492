<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Error;
use Illuminate\Support\Facades\Log;
use LogicException;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Data\ProvisionedRouter;
use Sallyport\Laravel\Enums\TokenScope;
use Sallyport\Laravel\Events\RouterProvisioned;
use Sallyport\Laravel\Http\CurlTransport;
use Sallyport\Laravel\Jobs\AddRouterPeer;
use Sallyport\Laravel\Jobs\RotateRouterKeys;
use Sallyport\Laravel\Support\Secret;
use Sallyport\Laravel\Testing\InMemoryGateway;
use Sallyport\Laravel\Tests\TestCase;
use Symfony\Component\VarDumper\Cloner\VarCloner;
use Symfony\Component\VarDumper\Dumper\CliDumper;
use Throwable;

/** Whatever shows an object shows no secret of it: dumps, exports, JSON, logs. */
final class SecretTest extends TestCase
{
    private const PRESHARED = 'BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=';

    public function test_nothing_that_shows_an_object_shows_its_secrets(): void
    {
        foreach ($this->objects() as [$object, $secrets]) {
            foreach (self::shown($object) as $by => $text) {
                foreach ($secrets as $secret) {
                    self::assertStringNotContainsString($secret, stripslashes($text), $object::class . " by {$by}");
                }
            }
        }
    }

    public function test_a_log_does_not_show_them_either(): void
    {
        config([
            'logging.default' => 'here',
            'logging.channels.here' => ['driver' => 'single', 'path' => $this->folder() . '/here.log'],
        ]);
        foreach ($this->objects() as [$object]) {
            Log::info('made', ['what' => $object]);
        }
        $log = stripslashes((string) file_get_contents($this->folder() . '/here.log'));
        self::assertSame(count($this->objects()), substr_count($log, 'made'));
        foreach ($this->objects() as [, $secrets]) {
            foreach ($secrets as $secret) {
                self::assertStringNotContainsString($secret, $log);
            }
        }
    }

    public function test_they_are_read_by_name_and_written_by_nobody(): void
    {
        $made = $this->made();
        self::assertStringContainsString($made->privateKey, $made->config);
        self::assertTrue(isset($made->config, $made->privateKey));
        self::assertFalse(isset((new NewRouter('x'))->presharedKey));
        self::assertNull((new NewRouter('x'))->presharedKey);
        self::assertSame(self::PRESHARED, (new NewRouter('x', presharedKey: self::PRESHARED))->presharedKey);
        self::assertArrayNotHasKey('private_key', $made->router->toArray());
        foreach ([static fn () => $made->config = '', static fn () => $made->nothing] as $wrong) {
            try {
                $wrong();
                self::fail('It was possible.');
            } catch (Error $error) {
                self::assertStringContainsString('ProvisionedRouter::$', $error->getMessage());
            }
        }
    }

    public function test_a_private_key_refuses_to_be_stored(): void
    {
        $this->expectException(LogicException::class);
        $this->expectExceptionMessage('not queued');
        serialize($this->made());
    }

    public function test_what_a_job_carries_arrives(): void
    {
        $job = unserialize(serialize(clone new AddRouterPeer('x', new NewRouter('y', presharedKey: self::PRESHARED))));
        self::assertSame(self::PRESHARED, $job->router->presharedKey);
    }

    public function test_a_stack_trace_has_no_arguments_that_are_secret(): void
    {
        try {
            (new Client(new InMemoryGateway()))
                ->routers()
                ->create(
                    '0190b6a4-0000-7d2f-8a5b-6c7d8e9f0a1b',
                    new NewRouter('x', presharedKey: self::PRESHARED),
                );
            self::fail('There is no such tenant.');
        } catch (Throwable $refused) {
            $arguments = array_map(static fn (array $frame): array => $frame['args'] ?? [], $refused->getTrace());
            // as error trackers do it: arrays in depth, objects by their class
            array_walk_recursive($arguments, static function (mixed &$each): void {
                $each = is_object($each) ? $each::class : $each;
            });
            self::assertStringNotContainsString(self::PRESHARED, stripslashes((string) json_encode($arguments)));
        }
    }

    /** @return list<array{object, non-empty-list<string>}> */
    private function objects(): array
    {
        static $objects = null;
        if ($objects === null) {
            $made = $this->made();
            $token = (new Client(new InMemoryGateway()))->tokens()->create('laravel', TokenScope::Admin);
            $keys = [$made->privateKey, 'PrivateKey ='];
            $objects = [
                [$made, $keys],
                [new RouterProvisioned($made), $keys],
                [$token, [$token->plainText]],
                [new NewRouter('x', presharedKey: self::PRESHARED), [self::PRESHARED]],
                [new NewTenant('x', routers: [new NewRouter('x', presharedKey: self::PRESHARED)]), [self::PRESHARED]],
                [new AddRouterPeer('x', new NewRouter('x', presharedKey: self::PRESHARED)), [self::PRESHARED]],
                [new RotateRouterKeys('x', null, self::PRESHARED), [self::PRESHARED]],
                [CurlTransport::overTcp('http://127.0.0.1:1', 'sp_secret'), ['sp_secret']],
                [new Client(CurlTransport::overTcp('http://127.0.0.1:1', 'sp_secret')), ['sp_secret']],
                [new Secret('sp_secret'), ['sp_secret']],
            ];
        }

        return $objects;
    }

    /** @return array<string, string> */
    private static function shown(object $object): array
    {
        ob_start();
        var_dump($object);
        $dumped = (string) ob_get_clean();

        return [
            'dd()' => (string) (new CliDumper())->dump((new VarCloner())->cloneVar($object), true),
            'var_dump()' => $dumped,
            'print_r()' => print_r($object, true),
            'var_export()' => var_export($object, true),
            'json_encode()' => (string) json_encode($object),
            'a cast' => print_r((array) $object, true),
        ];
    }

    private function made(): ProvisionedRouter
    {
        $client = new Client(new InMemoryGateway());
        $tenant = $client->tenants()->create(new NewTenant('Acme'));

        return $client->routers()->create($tenant->id, new NewRouter('Branch'));
    }
}
