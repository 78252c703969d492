<?php

declare(strict_types=1);

return [
    /*
    |--------------------------------------------------------------------------
    | The gateway's API
    |--------------------------------------------------------------------------
    |
    | Beside the gateway, mount its Unix socket: whoever may open it, is trusted
    | and needs no token. From elsewhere, give the URL of its TCP listener and a
    | token ("sallyport token add"). The URL wins if both are set.
    |
    */

    'socket' => env('SALLYPORT_SOCKET', '/run/sallyport/api.sock'),

    'url' => env('SALLYPORT_URL'),

    'token' => env('SALLYPORT_TOKEN'),

    // A PEM file of the authority that signed the gateway's certificate; null for those of the system.
    'ca' => env('SALLYPORT_CA'),

    // Seconds for one try. A bulk request, and a question for events that stays open, get more by themselves.
    'connect_timeout' => 5.0,
    'timeout' => 15.0,

    /*
    |--------------------------------------------------------------------------
    | Retries
    |--------------------------------------------------------------------------
    |
    | A request is tried again if the gateway cannot be reached or says "later"
    | (503 and 429, after the seconds it names). Everything that makes something
    | carries an Idempotency-Key, so a retry never makes it twice.
    |
    */

    'retry' => [
        'times' => 4,
        'sleep_milliseconds' => 200,
        'max_sleep_milliseconds' => 5000,
    ],

    /*
    |--------------------------------------------------------------------------
    | Tables
    |--------------------------------------------------------------------------
    |
    | "shared": the gateway keeps tenant_vpn_tunnels and vpn_configurations in
    |           this very database (PostgreSQL); Eloquent reads what it wrote.
    | "mirror": they are copies in a database of your own, kept by
    |           sallyport:sync and sallyport:listen.
    | "none":   there are no such tables; the models are filled from the API.
    |
    */

    'database' => [
        'mode' => env('SALLYPORT_DATABASE', 'shared'),
        'connection' => env('SALLYPORT_DB_CONNECTION'),
    ],

    // Your own classes, if they extend these.
    'models' => [
        'tunnel' => Sallyport\Laravel\Models\TenantVpnTunnel::class,
        'configuration' => Sallyport\Laravel\Models\VpnConfiguration::class,
    ],

    // Where jobs go; null for the defaults of your queue.
    'queue' => [
        'connection' => env('SALLYPORT_QUEUE_CONNECTION'),
        'queue' => env('SALLYPORT_QUEUE'),
    ],

    // Where sallyport:listen remembers how far it has come: a cache store that lasts.
    'events' => [
        'store' => env('SALLYPORT_EVENTS_STORE'),
        'key' => 'sallyport.events.after',
    ],

    /*
    |--------------------------------------------------------------------------
    | The tunnel, as your compose file says it
    |--------------------------------------------------------------------------
    |
    | sallyportd reads the same variables. Here they are only compared with what
    | the gateway says of itself, by sallyport:doctor.
    |
    */

    'vpn' => [
        'interface' => env('VPN_INTERFACE'),
        'server_ip' => env('VPN_SERVER_IP'),
        'server_port' => env('VPN_SERVER_PORT'),
        'mode' => env('VPN_MODE'),
    ],
];
