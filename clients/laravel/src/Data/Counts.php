<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

/** How many there are. */
final class Counts extends Record
{
    public readonly int $tenants;
    public readonly int $routers;
    public readonly int $connectedRouters;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->tenants = $data['tenants'];
        $this->routers = $data['routers'];
        $this->connectedRouters = $data['connected_routers'];
    }
}
