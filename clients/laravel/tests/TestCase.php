<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests;

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Foundation\Application;
use Illuminate\Support\Facades\Facade;
use Illuminate\Support\Facades\Schema;
use PHPUnit\Framework\TestCase as PHPUnitTestCase;

abstract class TestCase extends PHPUnitTestCase
{
    protected Application $app;
    private string $folder;
    private string $output = '';

    protected function setUp(): void
    {
        parent::setUp();
        $this->folder = sys_get_temp_dir() . '/sallyport-laravel-' . bin2hex(random_bytes(6));
        mkdir($this->folder, 0700);
        Facade::clearResolvedInstances();
        $this->app = App::create($this->folder, $this->config());
    }

    protected function tearDown(): void
    {
        $this->app->flush();
        (new Filesystem())->deleteDirectory($this->folder);
        // Laravel put its own in their places
        restore_error_handler();
        restore_exception_handler();
        parent::tearDown();
    }

    /** @return array<string, array<string, mixed>>  over the application's */
    protected function config(): array
    {
        return [];
    }

    protected function folder(): string
    {
        return $this->folder;
    }

    /** Runs a command; its exit status. */
    protected function artisan(string $command, array $arguments = []): int
    {
        $kernel = $this->app->make(Kernel::class);
        $status = $kernel->call($command, $arguments);
        $this->output = $kernel->output();

        return $status;
    }

    protected function output(): string
    {
        return $this->output;
    }

    /** The copies of the gateway's tables. */
    protected function migrateMirror(): void
    {
        $folder = dirname(__DIR__) . '/database/migrations';
        $migration = require "{$folder}/2026_01_01_000000_create_sallyport_mirror_tables.php";
        $migration->up();
    }

    protected function migrateQueue(): void
    {
        Schema::create('jobs', static function (Blueprint $table): void {
            $table->bigIncrements('id');
            $table->string('queue')->index();
            $table->longText('payload');
            $table->unsignedTinyInteger('attempts');
            $table->unsignedInteger('reserved_at')->nullable();
            $table->unsignedInteger('available_at');
            $table->unsignedInteger('created_at');
        });
        Schema::create('failed_jobs', static function (Blueprint $table): void {
            $table->id();
            $table->string('uuid')->unique();
            $table->text('connection');
            $table->text('queue');
            $table->longText('payload');
            $table->longText('exception');
            $table->timestamp('failed_at')->useCurrent();
        });
    }
}
