<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use LogicException;
use Sallyport\Laravel\Support\RevealsSecrets;
use Sallyport\Laravel\Support\Secret;
use SensitiveParameter;

/**
 * A router as it was made, or with new keys: the one answer that holds its private key (if the gateway made the pair)
 * and the configuration to hand to the device. Both are read as properties; neither is shown by dd(), a log or JSON. It
 * refuses to be serialized, so that no key ends in a queue or a cache.
 *
 * @property-read string|null $privateKey  null if the public key was given: then only the device knows the other half
 * @property-read string $config  what the router needs to dial in, in the form asked for
 */
final class ProvisionedRouter
{
    use RevealsSecrets;

    public readonly Router $router;
    private readonly ?Secret $key;
    private readonly Secret $text;

    /** @param  array<string, mixed>  $data */
    public function __construct(#[SensitiveParameter] array $data)
    {
        $this->key = Secret::orNull($data['private_key'] ?? null);
        $this->text = new Secret($data['config']);
        unset($data['private_key'], $data['config']);
        $this->router = new Router($data);
    }

    /** @return array<string, mixed> */
    public function __serialize(): array
    {
        throw new LogicException(
            'A ProvisionedRouter holds a private key and is not to be stored or queued: ' .
                'hand its configuration over at once, in a listener that is not queued.',
        );
    }

    /** @return array<string, Secret|null> */
    private function secrets(): array
    {
        return ['privateKey' => $this->key, 'config' => $this->text];
    }
}
