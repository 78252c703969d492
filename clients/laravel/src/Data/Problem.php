<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Data;

use Illuminate\Contracts\Support\Arrayable;

/**
 * Why a request, or one item of a bulk request, was refused.
 *
 * @implements Arrayable<string, mixed>
 */
final class Problem implements Arrayable
{
    private const PREFIX = 'urn:sallyport:problem:';

    /** @param  array<string, list<string>>  $messages */
    public function __construct(
        public readonly string $type,
        public readonly string $title,
        public readonly int $status,
        public readonly string $detail,
        public readonly ?string $field = null,
        private readonly array $messages = [],
    ) {
    }

    /** @param  array<string, mixed>  $data */
    public static function fromArray(array $data): self
    {
        $messages = [];
        foreach (is_array($data['errors'] ?? null) ? $data['errors'] : [] as $error) {
            if (is_array($error) && isset($error['field'], $error['detail'])) {
                $messages[self::dotted((string) $error['field'])][] = (string) $error['detail'];
            }
        }

        return new self(
            (string) ($data['type'] ?? 'about:blank'),
            (string) ($data['title'] ?? ''),
            (int) ($data['status'] ?? 500),
            (string) ($data['detail'] ?? ($data['title'] ?? 'The gateway gave no reason.')),
            isset($data['field']) ? (string) $data['field'] : null,
            $messages,
        );
    }

    /** The stable name, such as "duplicate-public-key". */
    public function name(): string
    {
        return str_starts_with($this->type, self::PREFIX) ? substr($this->type, strlen(self::PREFIX)) : $this->type;
    }

    /** @return array<string, list<string>>  messages by field; what concerns no field stands under "sallyport" */
    public function errors(): array
    {
        return $this->messages !== []
            ? $this->messages
            : [$this->field === null ? 'sallyport' : self::dotted($this->field) => [$this->detail]];
    }

    /** @return array<string, mixed> */
    public function toArray(): array
    {
        return array_filter(
            [
                'type' => $this->type,
                'title' => $this->title,
                'status' => $this->status,
                'detail' => $this->detail,
                'field' => $this->field,
            ],
            static fn (mixed $value): bool => $value !== null,
        );
    }

    /** "routers[3].lans[1]" as Laravel writes it: "routers.3.lans.1". */
    private static function dotted(string $field): string
    {
        return preg_replace('/\[(\d+)\]/', '.$1', $field) ?? $field;
    }
}
