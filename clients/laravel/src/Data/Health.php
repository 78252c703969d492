<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

/** Whether the gateway works, and if not, which part. */
final class Health extends Record
{
    public readonly string $status;
    public readonly string $version;
    public readonly string $store;
    public readonly string $backend;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->status = $data['status'];
        $this->version = $data['version'];
        $this->store = $data['store'];
        $this->backend = $data['backend'];
    }

    public function isOk(): bool
    {
        return $this->status === 'ok';
    }

    /** The database is away: packets flow on, changes have to wait. */
    public function isDegraded(): bool
    {
        return $this->status === 'degraded';
    }
}
