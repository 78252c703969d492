<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

/** The database. */
final class StoreStatus extends Record
{
    /** "sqlite" or "postgresql". */
    public readonly string $kind;
    public readonly bool $ok;

    /** Of the last change. */
    public readonly int $revision;

    /** Why it does not answer. */
    public readonly ?string $trouble;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->kind = $data['kind'];
        $this->ok = $data['ok'];
        $this->revision = $data['revision'];
        $this->trouble = $data['trouble'];
    }
}
