<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Illuminate\Contracts\Support\Arrayable;

/**
 * What a tenant may use at most; 0 for no limit.
 *
 * @implements Arrayable<string, int>
 */
final class Limits implements Arrayable
{
    public function __construct(
        public readonly int $bitsPerSecond = 0,
        public readonly int $packetsPerSecond = 0,
        public readonly int $routers = 0,
    ) {
    }

    /** @param  array<string, int>  $data */
    public static function fromArray(array $data): self
    {
        return new self($data['bits_per_second'], $data['packets_per_second'], $data['routers']);
    }

    /** @return array<string, int> */
    public function toArray(): array
    {
        return [
            'bits_per_second' => $this->bitsPerSecond,
            'packets_per_second' => $this->packetsPerSecond,
            'routers' => $this->routers,
        ];
    }
}
