<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Enums;

/** What the two tables are to this application: config('sallyport.database.mode'). */
enum DatabaseMode: string
{
    case Shared = 'shared';
    case Mirror = 'mirror';
    case None = 'none';
}
