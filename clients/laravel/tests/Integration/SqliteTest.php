<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Integration;

use Illuminate\Support\Facades\DB;
use PDO;

/** Eloquent reads the gateway's SQLite file, and cannot write to it. */
final class SqliteTest extends SharedDatabaseTests
{
    protected function connection(): array
    {
        config(['sallyport.socket' => self::given('SQLITE_SOCKET')]);

        return [
            'driver' => 'sqlite',
            'database' => self::given('SQLITE_FILE'),
            'prefix' => '',
            'options' => [PDO::SQLITE_ATTR_OPEN_FLAGS => PDO::SQLITE_OPEN_READONLY],
        ];
    }

    public function test_it_is_sqlite_and_read_only(): void
    {
        self::assertSame('sqlite', $this->sallyport()->status()->store->kind);
        $this->expectExceptionMessage('readonly');
        DB::connection('gateway')->table('vpn_settings')->delete();
    }
}
