<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

/** Addresses of the hub's space. */
final class PoolStatus extends Record
{
    public readonly int $addressesTotal;
    public readonly int $addressesFree;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->addressesTotal = $data['addresses_total'];
        $this->addressesFree = $data['addresses_free'];
    }
}
