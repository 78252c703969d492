<?php

declare(strict_types=1);

namespace Sallyport\Laravel;

use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Foundation\Console\AboutCommand;
use Illuminate\Support\ServiceProvider;
use InvalidArgumentException;
use Sallyport\Laravel\Console\DoctorCommand;
use Sallyport\Laravel\Console\InstallCommand;
use Sallyport\Laravel\Console\ListenCommand;
use Sallyport\Laravel\Console\SyncCommand;
use Sallyport\Laravel\Database\DetachedTables;
use Sallyport\Laravel\Database\MirroredTables;
use Sallyport\Laravel\Database\SharedTables;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Enums\DatabaseMode;
use Sallyport\Laravel\Events\AnsweredFromMemory;
use Sallyport\Laravel\Http\CurlTransport;
use Sallyport\Laravel\Http\RetryPolicy;
use Sallyport\Laravel\Http\Transport;

final class SallyportServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->mergeConfigFrom(__DIR__ . '/../config/sallyport.php', 'sallyport');

        $this->app->singleton(Transport::class, static function (Application $app): Transport {
            $config = $app['config']['sallyport'];

            return filled($config['url'])
                ? CurlTransport::overTcp(
                    $config['url'],
                    $config['token'],
                    $config['ca'],
                    (float) $config['connect_timeout'],
                    (float) $config['timeout'],
                )
                : CurlTransport::overSocket(
                    (string) $config['socket'],
                    (float) $config['connect_timeout'],
                    (float) $config['timeout'],
                );
        });
        $this->app->singleton(RetryPolicy::class, static function (Application $app): RetryPolicy {
            $retry = $app['config']['sallyport.retry'];

            return new RetryPolicy(
                (int) $retry['times'],
                (int) $retry['sleep_milliseconds'],
                (int) $retry['max_sleep_milliseconds'],
            );
        });
        $this->app->singleton(
            Client::class,
            static fn (Application $app): Client => new Client(
                $app->make(Transport::class),
                $app->make(RetryPolicy::class),
                static function (string $path, int $seconds) use ($app): void {
                    $app->make(Dispatcher::class)->dispatch(new AnsweredFromMemory($path, $seconds));
                },
            ),
        );
        $this->app->bind(Tables::class, static function (Application $app): Tables {
            $mode = (string) $app['config']['sallyport.database.mode'];

            $class = match (DatabaseMode::tryFrom($mode)) {
                DatabaseMode::Shared => SharedTables::class,
                DatabaseMode::Mirror => MirroredTables::class,
                DatabaseMode::None => DetachedTables::class,
                null => throw new InvalidArgumentException(
                    "SALLYPORT_DATABASE is \"{$mode}\"; it must be \"shared\", \"mirror\" or \"none\".",
                ),
            };

            return $app->make($class);
        });
    }

    public function boot(): void
    {
        if (!$this->app->runningInConsole()) {
            return;
        }
        $this->publishes(
            [__DIR__ . '/../config/sallyport.php' => $this->app->configPath('sallyport.php')],
            'sallyport-config',
        );
        $this->publishes(
            [__DIR__ . '/../database/migrations' => $this->app->databasePath('migrations')],
            'sallyport-migrations',
        );
        $this->commands([DoctorCommand::class, InstallCommand::class, ListenCommand::class, SyncCommand::class]);
        if (class_exists(AboutCommand::class)) {
            AboutCommand::add(
                'Sallyport',
                fn (): array => [
                    'Gateway' => $this->app['config']['sallyport.url'] ?: $this->app['config']['sallyport.socket'],
                    'Tables' => $this->app['config']['sallyport.database.mode'],
                ],
            );
        }
    }
}
