<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Support;

use Error;

/** Lets secrets be read as if they were public properties, which they are not: see Secret. */
trait RevealsSecrets
{
    /** @return array<string, Secret|null>  by the name under which each is read */
    abstract private function secrets(): array;

    public function __get(string $name): ?string
    {
        $secrets = $this->secrets();
        if (!array_key_exists($name, $secrets)) {
            throw new Error('Undefined property: ' . static::class . "::\${$name}");
        }

        return $secrets[$name]?->reveal();
    }

    public function __isset(string $name): bool
    {
        return isset($this->secrets()[$name]);
    }

    public function __set(string $name, mixed $value): void
    {
        throw new Error('Cannot modify property: ' . static::class . "::\${$name}");
    }
}
