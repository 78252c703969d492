<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Enums;

enum TokenScope: string
{
    case Admin = 'admin';
    case TenantRead = 'tenant-read';
    case TenantWrite = 'tenant-write';
    case Metrics = 'metrics';
}
