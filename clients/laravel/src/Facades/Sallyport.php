<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Facades;

use Illuminate\Support\Facades\Facade;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Database\MirroredTables;
use Sallyport\Laravel\Database\Tables;
use Sallyport\Laravel\Enums\DatabaseMode;
use Sallyport\Laravel\Testing\SallyportFake;

/**
 * @method static \Sallyport\Laravel\Resources\Tenants tenants()
 * @method static \Sallyport\Laravel\Resources\Routers routers()
 * @method static \Sallyport\Laravel\Resources\Tokens tokens()
 * @method static \Sallyport\Laravel\Resources\Events events()
 * @method static \Sallyport\Laravel\Data\Health health()
 * @method static \Sallyport\Laravel\Data\Status status()
 * @method static \Illuminate\Support\Collection<int, \Sallyport\Laravel\Data\Gateway> gateways()
 * @method static array<string, int> counters()
 * @method static array<string, mixed> document()
 *
 * @see \Sallyport\Laravel\Client
 */
final class Sallyport extends Facade
{
    /**
     * Puts a gateway that lives in memory in the place of the real one. It answers as the real one would, and tells
     * afterwards what it was asked for. The models, if their tables exist here, follow it.
     */
    public static function fake(): SallyportFake
    {
        $fake = new SallyportFake();
        self::swap($fake);
        // nobody writes the shared tables now
        if (config('sallyport.database.mode') === DatabaseMode::Shared->value) {
            static::$app->instance(Tables::class, static::$app->make(MirroredTables::class));
        }

        return $fake;
    }

    protected static function getFacadeAccessor(): string
    {
        return Client::class;
    }
}
