<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Enums;

enum Addressing: string
{
    /** The tenant shares the hub's address space. */
    case Unique = 'unique';

    /** The tenant has an address space of its own, which may overlap any other's. */
    case Private = 'private';
}
