<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Support\Facades\Event;
use InvalidArgumentException;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\DetachedTables;
use Sallyport\Laravel\Database\MirroredTables;
use Sallyport\Laravel\Database\SharedTables;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Events\AnsweredFromMemory;
use Sallyport\Laravel\Http\CurlTransport;
use Sallyport\Laravel\Http\Response;
use Sallyport\Laravel\Http\Transport;
use Sallyport\Laravel\SallyportServiceProvider;
use Sallyport\Laravel\Tests\TestCase;

final class ProviderTest extends TestCase
{
    public function test_the_package_is_discovered(): void
    {
        self::assertNotNull($this->app->getProvider(SallyportServiceProvider::class));
        self::assertTrue(class_exists('Sallyport'), 'the facade has no alias');
    }

    public function test_the_configuration_has_defaults(): void
    {
        self::assertSame('/run/sallyport/api.sock', config('sallyport.socket'));
        self::assertSame('shared', config('sallyport.database.mode'));
    }

    public function test_the_client_is_one_for_all(): void
    {
        self::assertSame($this->app->make(Client::class), $this->app->make(Client::class));
    }

    public function test_the_url_wins_over_the_socket(): void
    {
        $transport = $this->app->make(Transport::class);
        self::assertInstanceOf(CurlTransport::class, $transport);
        self::assertSame('/run/sallyport/api.sock', $transport->where());
        $this->app->forgetInstance(Transport::class);
        config(['sallyport.url' => 'https://vpn.example.com:8443/', 'sallyport.token' => 'sp_x']);
        self::assertSame('https://vpn.example.com:8443', $this->app->make(Transport::class)->where());
    }

    public function test_a_url_that_is_none_is_refused_with_an_example(): void
    {
        config(['sallyport.url' => 'vpn.example.com']);
        $this->expectException(InvalidArgumentException::class);
        $this->expectExceptionMessage('https://vpn.example.com:8443');
        $this->app->make(Transport::class);
    }

    public function test_a_token_with_a_line_break_is_refused_before_it_is_sent(): void
    {
        $this->expectException(InvalidArgumentException::class);
        CurlTransport::overTcp('http://127.0.0.1:1', "sp_x\r\nX-Evil: 1");
    }

    public function test_a_socket_path_that_no_socket_can_have_is_refused(): void
    {
        $this->expectException(InvalidArgumentException::class);
        CurlTransport::overSocket(str_repeat('a', 108));
    }

    /** @dataProvider modes */
    public function test_the_mode_chooses_the_tables(string $mode, string $class): void
    {
        config(['sallyport.database.mode' => $mode]);
        self::assertInstanceOf($class, $this->app->make(Tables::class));
    }

    /** @return array<string, array{string, class-string}> */
    public static function modes(): array
    {
        return [
            'shared' => ['shared', SharedTables::class],
            'mirror' => ['mirror', MirroredTables::class],
            'none' => ['none', DetachedTables::class],
        ];
    }

    public function test_an_unknown_mode_says_what_it_may_be(): void
    {
        config(['sallyport.database.mode' => 'postgres']);
        $this->expectExceptionMessage('"shared", "mirror" or "none"');
        $this->app->make(Tables::class);
    }

    public function test_an_answer_from_memory_is_told(): void
    {
        Event::fake();
        $stale = new Response(200, ['content-type' => 'application/json', 'age' => '7'], '{"counters": {}}');
        $fresh = new Response(200, ['content-type' => 'application/json'], '{"counters": {}}');
        $this->app->instance(Transport::class, new Scripted([$stale, $fresh]));
        $this->app->make(Client::class)->counters();
        $this->app->make(Client::class)->counters();
        Event::assertDispatchedTimes(AnsweredFromMemory::class, 1);
        Event::assertDispatched(
            AnsweredFromMemory::class,
            static fn (AnsweredFromMemory $event): bool => [$event->path, $event->seconds] === ['/v1/counters', 7],
        );
    }

    public function test_the_commands_are_there(): void
    {
        $commands = array_keys($this->app->make(Kernel::class)->all());
        foreach (['install', 'sync', 'doctor', 'listen'] as $name) {
            self::assertContains("sallyport:{$name}", $commands);
        }
    }

    public function test_configuration_and_migration_can_be_published(): void
    {
        self::assertSame(0, $this->artisan('vendor:publish', ['--tag' => 'sallyport-config']));
        self::assertSame(0, $this->artisan('vendor:publish', ['--tag' => 'sallyport-migrations']));
        self::assertFileEquals(dirname(__DIR__, 2) . '/config/sallyport.php', $this->app->configPath('sallyport.php'));
        self::assertNotEmpty(glob($this->app->databasePath('migrations/*sallyport*')));
    }
}
