<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use LogicException;
use Sallyport\Laravel\Support\RevealsSecrets;
use Sallyport\Laravel\Support\Secret;
use SensitiveParameter;

/**
 * A token as it was made: the one answer that holds its text, which no dump, log or JSON shows. It refuses to be
 * serialized.
 *
 * @property-read string $plainText  what goes into SALLYPORT_TOKEN; it cannot be had again
 */
final class NewToken
{
    use RevealsSecrets;

    public readonly Token $token;
    private readonly Secret $text;

    /** @param  array<string, mixed>  $data */
    public function __construct(#[SensitiveParameter] array $data)
    {
        $this->text = new Secret($data['token']);
        unset($data['token']);
        $this->token = new Token($data);
    }

    /** @return array<string, mixed> */
    public function __serialize(): array
    {
        throw new LogicException('A NewToken holds the text of a token and is not to be stored or queued.');
    }

    /** @return array<string, Secret> */
    private function secrets(): array
    {
        return ['plainText' => $this->text];
    }
}
