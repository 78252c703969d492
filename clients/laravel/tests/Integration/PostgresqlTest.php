<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Integration;

use Illuminate\Support\Facades\DB;

final class PostgresqlTest extends SharedDatabaseTests
{
    protected function connection(): array
    {
        return [
            'driver' => 'pgsql',
            'host' => self::given('PG_HOST'),
            'database' => self::given('PG_DATABASE'),
            'username' => self::given('PG_USER'),
            'password' => '',
            'charset' => 'utf8',
            'prefix' => '',
            'schema' => 'public',
            'search_path' => 'public',
            'timezone' => 'Europe/Amsterdam',
        ];
    }

    public function test_it_is_postgresql(): void
    {
        self::assertSame('postgresql', $this->sallyport()->status()->store['kind']);
        self::assertStringContainsString(
            'PostgreSQL',
            DB::connection('gateway')->selectOne('SELECT version()')->version,
        );
    }
}
