<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use LogicException;

/**
 * A router as it was made, or with new keys: the one answer that holds its private key (if the gateway made the pair)
 * and the configuration to hand to the device. It refuses to be serialized, so that no key ends in a queue, a cache or
 * a log.
 */
final class ProvisionedRouter
{
    public readonly Router $router;

    /** Null if the public key was given: then only the device knows the other half. */
    public readonly ?string $privateKey;

    /** What the router needs to dial in, as wg-quick reads it. */
    public readonly string $config;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        $this->privateKey = $data['private_key'] ?? null;
        $this->config = $data['config'];
        unset($data['private_key'], $data['config']);
        $this->router = new Router($data);
    }

    /** @return array<string, mixed> */
    public function __debugInfo(): array
    {
        return [
            'router' => $this->router,
            'privateKey' => $this->privateKey === null ? null : '...',
            'config' => '...',
        ];
    }

    /** @return array<string, mixed> */
    public function __serialize(): array
    {
        throw new LogicException(
            'A ProvisionedRouter holds a private key and is not to be stored or queued: ' .
                'hand its configuration over at once, in a listener that is not queued.',
        );
    }
}
