<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Events;

use Sallyport\Laravel\Data\Event;

final class Factory
{
    /** @var array<string, class-string<GatewayEvent>> */
    public const KINDS = [
        'tenant.created' => TenantCreated::class,
        'tenant.updated' => TenantUpdated::class,
        'tenant.disabled' => TenantDisabled::class,
        'tenant.enabled' => TenantEnabled::class,
        'tenant.deleted' => TenantDeleted::class,
        'router.created' => RouterCreated::class,
        'router.updated' => RouterUpdated::class,
        'router.activated' => RouterActivated::class,
        'router.connected' => RouterConnected::class,
        'router.disconnected' => RouterDisconnected::class,
        'router.disabled' => RouterDisabled::class,
        'router.enabled' => RouterEnabled::class,
        'router.rotated' => RouterRotated::class,
        'router.deleted' => RouterDeleted::class,
        'token.created' => TokenCreated::class,
        'token.revoked' => TokenRevoked::class,
    ];

    public static function make(Event $event): GatewayEvent
    {
        $class = self::KINDS[$event->kind] ?? UnknownEvent::class;

        return new $class($event);
    }
}
