<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

/** The data plane. */
final class BackendStatus extends Record
{
    /** Such as "engine". */
    public readonly string $name;

    /** Why this one. */
    public readonly string $why;
    public readonly bool $up;
    public readonly ?int $pid;
    public readonly int $workers;
    public readonly string $crypto;

    /** Those in use. */
    public readonly string $offloads;

    /** @var array<string, string>  those not in use, each with why */
    public readonly array $offloadsOff;
    public readonly int $memoryBytes;
    public readonly int $peers;
    public readonly int $tenants;
    public readonly int $listenPort;
    public readonly string $interface;

    /** What the host does not let it do; null: nothing. */
    public readonly ?string $warning;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->name = $data['name'];
        $this->why = $data['why'];
        $this->up = $data['up'];
        $this->pid = $data['pid'];
        $this->workers = $data['workers'];
        $this->crypto = $data['crypto'];
        $this->offloads = $data['offloads'];
        $this->offloadsOff = $data['offloads_off'];
        $this->memoryBytes = $data['memory_bytes'];
        $this->peers = $data['peers'];
        $this->tenants = $data['tenants'];
        $this->listenPort = $data['listen_port'];
        $this->interface = $data['interface'];
        $this->warning = $data['warning'] ?? null;
    }
}
