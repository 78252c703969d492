<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests;

use Illuminate\Contracts\Console\Kernel as ConsoleKernel;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Foundation\Application;
use Illuminate\Foundation\Console\Kernel;
use Illuminate\Foundation\Exceptions\Handler;

/**
 * A Laravel application in a folder of its own, as small as one that uses this package can be. The package is found as
 * Composer would tell of it: by package discovery.
 */
final class App
{
    public static function create(string $folder, array $config = []): Application
    {
        $package = dirname(__DIR__);
        $composer = json_decode((string) file_get_contents("{$package}/composer.json"), true, 16, JSON_THROW_ON_ERROR);
        $files = [
            'composer.json' => '{"name": "tests/app"}',
            'vendor/composer/installed.json' => json_encode(['packages' => [$composer]], JSON_THROW_ON_ERROR),
            '.env' => "APP_NAME=tests\n",
        ];
        foreach (array_replace_recursive(self::config($folder), $config) as $name => $values) {
            $files["config/{$name}.php"] = '<?php return ' . var_export($values, true) . ';';
        }
        $folders = ['app', 'bootstrap/cache', 'database/migrations', 'resources', 'storage/framework/cache'];
        foreach ($folders as $each) {
            is_dir("{$folder}/{$each}") || mkdir("{$folder}/{$each}", 0700, true);
        }
        foreach ($files as $name => $text) {
            is_dir(dirname("{$folder}/{$name}")) || mkdir(dirname("{$folder}/{$name}"), 0700, true);
            file_put_contents("{$folder}/{$name}", $text);
        }
        $app = new Application($folder);
        $app->singleton(ConsoleKernel::class, Kernel::class);
        $app->singleton(ExceptionHandler::class, Handler::class);
        $app->make(ConsoleKernel::class)->bootstrap();

        return $app;
    }

    /** @return array<string, array<string, mixed>> */
    private static function config(string $folder): array
    {
        return [
            'app' => [
                'name' => 'tests',
                'env' => 'testing',
                'debug' => true,
                'key' => 'base64:' . base64_encode(random_bytes(32)),
                'cipher' => 'AES-256-CBC',
                'locale' => 'en',
                'fallback_locale' => 'en',
                'timezone' => 'UTC',
                'providers' => [
                    \Illuminate\Bus\BusServiceProvider::class,
                    \Illuminate\Cache\CacheServiceProvider::class,
                    \Illuminate\Foundation\Providers\ConsoleSupportServiceProvider::class,
                    \Illuminate\Database\DatabaseServiceProvider::class,
                    \Illuminate\Encryption\EncryptionServiceProvider::class,
                    \Illuminate\Filesystem\FilesystemServiceProvider::class,
                    \Illuminate\Foundation\Providers\FoundationServiceProvider::class,
                    \Illuminate\Queue\QueueServiceProvider::class,
                    \Illuminate\Translation\TranslationServiceProvider::class,
                    \Illuminate\Validation\ValidationServiceProvider::class,
                    \Illuminate\View\ViewServiceProvider::class,
                ],
                'aliases' => [],
            ],
            'cache' => [
                'default' => 'file',
                'stores' => [
                    'file' => ['driver' => 'file', 'path' => "{$folder}/storage/framework/cache"],
                    'array' => ['driver' => 'array'],
                ],
                'prefix' => 'tests',
            ],
            'database' => [
                'default' => 'own',
                'connections' => [
                    'own' => [
                        'driver' => 'sqlite',
                        'database' => ':memory:',
                        'prefix' => '',
                        'foreign_key_constraints' => true,
                    ],
                ],
                'migrations' => 'migrations',
            ],
            'filesystems' => [
                'default' => 'local',
                'disks' => ['local' => ['driver' => 'local', 'root' => "{$folder}/storage"]],
            ],
            'logging' => [
                'default' => 'null',
                'channels' => ['null' => ['driver' => 'monolog', 'handler' => \Monolog\Handler\NullHandler::class]],
            ],
            'queue' => [
                'default' => 'database',
                'connections' => [
                    'sync' => ['driver' => 'sync'],
                    'database' => [
                        'driver' => 'database',
                        'table' => 'jobs',
                        'queue' => 'default',
                        'retry_after' => 90,
                    ],
                ],
                'failed' => ['driver' => 'database-uuids', 'database' => 'own', 'table' => 'failed_jobs'],
            ],
            'view' => ['paths' => [], 'compiled' => "{$folder}/storage"],
        ];
    }
}
