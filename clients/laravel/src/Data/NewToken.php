<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use LogicException;

/** A token as it was made: the one answer that holds its text. It refuses to be serialized. */
final class NewToken
{
    public readonly Token $token;

    /** What goes into SALLYPORT_TOKEN. It cannot be had again. */
    public readonly string $plainText;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        $this->plainText = $data['token'];
        unset($data['token']);
        $this->token = new Token($data);
    }

    /** @return array<string, mixed> */
    public function __debugInfo(): array
    {
        return ['token' => $this->token, 'plainText' => 'sp_...'];
    }

    /** @return array<string, mixed> */
    public function __serialize(): array
    {
        throw new LogicException('A NewToken holds the text of a token and is not to be stored or queued.');
    }
}
