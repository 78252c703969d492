<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Carbon\CarbonImmutable;

/** How the data plane follows the database. */
final class ReconcileStatus extends Record
{
    /** When they were last compared. */
    public readonly ?CarbonImmutable $lastAt;
    public readonly int $lastMs;

    /** Differences that somebody else made in the data plane, found and mended since start. */
    public readonly int $mended;

    /** "in-sync", "pending" or "failed". */
    public readonly string $state;

    /** What went wrong last, and what to do; null if nothing. */
    public readonly ?string $trouble;

    /** @param  array<string, mixed>  $data */
    public function __construct(array $data)
    {
        parent::__construct($data);
        $this->lastAt = self::time($data['last_at']);
        $this->lastMs = $data['last_ms'];
        $this->mended = $data['mended'];
        $this->state = $data['state'];
        $this->trouble = $data['trouble'];
    }
}
