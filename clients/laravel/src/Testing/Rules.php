<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Testing;

use Carbon\CarbonImmutable;
use Illuminate\Support\Str;

/** What the gateway accepts. Each method refuses as it does, with the same type and field. */
final class Rules
{
    public const HUB = '10.0.0.1';
    public const POOL = '10.0.0.0/8';
    public const ULA = 'fd00::/48';

    private const LANS_MAX = 32;

    /** Prefixes that mean something else wherever they appear. */
    private const SPECIAL = [
        '0.0.0.0/8',
        '127.0.0.0/8',
        '169.254.0.0/16',
        '224.0.0.0/4',
        '240.0.0.0/4',
        '::/128',
        '::1/128',
        '::ffff:0:0/96',
        'fe80::/10',
        'ff00::/8',
    ];

    public const TENANT = [
        'id' => 'uuid',
        'name' => 'text',
        'addressing' => ['unique', 'private'],
        'subnet' => 'prefix',
        'egress' => 'boolean',
        'limits' => 'limits',
    ];
    public const TENANT_PATCH = ['name' => 'text', 'egress' => 'boolean', 'limits' => 'limits'];
    public const ROUTER = [
        'id' => 'uuid',
        'name' => 'text',
        'address' => 'ip',
        'lans' => 'prefixes',
        'public_key' => 'key',
        'preshared_key' => 'preshared key',
    ];
    public const ROUTER_PATCH = ['name' => 'text', 'lans' => 'prefixes'];
    public const ROUTER_KEYS = ['public_key' => 'key', 'preshared_key' => 'preshared key'];
    public const TOKEN = [
        'name' => 'text',
        'scope' => ['metrics', 'tenant-read', 'tenant-write', 'admin'],
        'tenant_id' => 'uuid',
        'expires_at' => 'time',
    ];

    private const FORM = ['format' => ['wg-quick', 'routeros', 'openwrt', 'networkd', 'qr']];
    private const PAGE = ['cursor' => 'cursor', 'limit' => [1, 1000]];
    public const QUERIES = [
        'listTenants' => self::PAGE + [
            'name' => 'text',
            'q' => 'text',
            'addressing' => self::TENANT['addressing'],
            'status' => ['active', 'disabled'],
        ],
        'listRouters' => self::PAGE + [
            'name' => 'text',
            'q' => 'text',
            'status' => ['pending', 'active', 'disabled'],
            'public_key' => 'key',
            'connected' => 'boolean',
            'address' => 'ip',
            'tenant_id' => 'uuid',
        ],
        'listRoutersOfTenant' => self::PAGE + [
            'name' => 'text',
            'q' => 'text',
            'status' => ['pending', 'active', 'disabled'],
            'public_key' => 'key',
            'connected' => 'boolean',
            'address' => 'ip',
        ],
        'events' => ['after' => [0, PHP_INT_MAX], 'limit' => [1, 1000], 'wait' => [0, 30]],
        'bulkTenants' => ['return' => ['full', 'minimal']],
        'bulkRouters' => ['return' => ['full', 'minimal']],
        'createRouter' => self::FORM,
        'rotateRouter' => self::FORM,
        'routerConfig' => self::FORM,
    ];

    /**
     * @param  array<string, mixed>  $body
     * @param  array<string, string|list<string>>  $fields
     * @param  list<string>  $required
     * @return array<string, mixed>
     */
    public static function body(array $body, array $fields, array $required = []): array
    {
        foreach ($body as $name => $value) {
            if (!isset($fields[$name])) {
                throw new Refusal(422, 'unknown-field', "There is no field \"{$name}\" here.", (string) $name);
            }
            self::field($fields[$name], $value, (string) $name);
        }
        foreach ($required as $name) {
            if (!isset($body[$name])) {
                throw new Refusal(422, 'missing-field', "\"{$name}\" is missing.", $name);
            }
        }
        if (isset($body['name'])) {
            self::name($body['name']);
        }

        return $body;
    }

    /** @param  array<string, scalar>  $query */
    public static function query(array $query, string $handler): void
    {
        $known = self::QUERIES[$handler] ?? [];
        foreach ($query as $name => $value) {
            if (!isset($known[$name])) {
                throw new Refusal(422, 'unknown-parameter', "There is no query parameter \"{$name}\" here.", $name);
            }
            if (is_int($known[$name][0] ?? null)) {
                self::number($value, $known[$name][0], $known[$name][1], $name, true);
            } elseif ($known[$name] !== 'boolean' || !in_array($value, ['true', 'false', true, false], true)) {
                self::field($known[$name], is_bool($value) ? $value : (string) $value, $name);
            }
        }
    }

    public static function subnet(string $text, string $addressing): void
    {
        $subnet = Prefix::parse($text);
        if (!$subnet->isIpv4()) {
            throw new Refusal(422, 'subnet-family', 'The subnet must be IPv4.', 'subnet');
        }
        self::prefix($subnet, $text, 'subnet');
        if ($addressing === 'unique' && !Prefix::parse(self::POOL)->covers($subnet)) {
            throw new Refusal(422, 'subnet-outside-pool', "{$text} is not in the pool " . self::POOL . '.', 'subnet');
        }
        $least = $addressing === 'unique' ? 16 : 8;
        if ($subnet->length < $least || $subnet->length > 30) {
            throw new Refusal(422, 'subnet-length', "With {$addressing} addressing: /{$least} to /30.", 'subnet');
        }
    }

    /** @param  list<string>  $lans */
    public static function lans(array $lans): void
    {
        $seen = [];
        foreach ($lans as $i => $text) {
            $lan = Prefix::parse($text);
            self::prefix($lan, $text, "lans[{$i}]");
            if ($lan->overlaps(Prefix::parse(self::ULA))) {
                throw new Refusal(422, 'lan-overlaps-ula', "{$text} overlaps " . self::ULA . '.', "lans[{$i}]");
            }
            foreach ($seen as $other) {
                if ($lan->overlaps($other)) {
                    throw new Refusal(422, 'lan-overlap', "{$text} overlaps another in the list.", "lans[{$i}]");
                }
            }
            $seen[] = $lan;
        }
    }

    /** @param  array<string, mixed>  $fields */
    public static function token(array $fields): void
    {
        if (str_starts_with($fields['scope'], 'tenant-') !== isset($fields['tenant_id'])) {
            throw new Refusal(422, 'token-tenant', 'The tenant scopes, and only they, need a tenant.', 'tenant_id');
        }
        if (isset($fields['expires_at']) && CarbonImmutable::parse($fields['expires_at'])->isPast()) {
            throw new Refusal(422, 'token-expired', 'The token would be expired already.', 'expires_at');
        }
    }

    public static function idempotencyKey(string $key): void
    {
        if (preg_match('/^[ -~]{1,128}$/D', $key) !== 1) {
            throw new Refusal(
                422,
                'invalid-idempotency-key',
                'An Idempotency-Key has 1 to 128 printable ASCII characters.',
                'Idempotency-Key',
            );
        }
    }

    /** @param  string|list<string>  $kind */
    private static function field(string|array $kind, mixed $value, string $name): void
    {
        if (is_array($kind)) {
            self::expect(is_string($value), 'a string', $name);
            self::require(in_array($value, $kind, true), 'invalid-value', "None of " . implode(', ', $kind), $name);

            return;
        }
        match ($kind) {
            'boolean' => self::expect(is_bool($value), 'a boolean', $name),
            'limits' => self::limits($value, $name),
            'prefixes' => self::prefixes($value, $name),
            default => self::text($kind, $value, $name),
        };
    }

    private static function text(string $kind, mixed $value, string $name): void
    {
        self::expect(is_string($value), 'a string', $name);
        match ($kind) {
            'uuid' => self::require(
                Str::isUuid($value) && trim($value, '0-') !== '',
                'invalid-id',
                "\"{$value}\" is not a UUID.",
                $name,
            ),
            'key' => self::require(Keys::isKey($value), 'invalid-key', 'Not a WireGuard key.', $name),
            'preshared key' => self::require(
                $value === 'generate' || Keys::isKey($value),
                'invalid-key',
                'Not a preshared key.',
                $name,
            ),
            'ip' => self::require(
                !str_contains($value, '/') && Prefix::parse($value) !== null,
                'invalid-address',
                "\"{$value}\" is not an IP address.",
                $name,
            ),
            'prefix' => self::require(
                Prefix::parse($value)?->hasHostBits() === false,
                'invalid-prefix',
                "\"{$value}\" is not a prefix such as 192.168.88.0/24.",
                $name,
            ),
            'time' => self::require(
                preg_match('/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/D', $value) === 1,
                'invalid-time',
                "\"{$value}\" is not a UTC time.",
                $name,
            ),
            'cursor' => self::require(ctype_digit($value), 'bad-cursor', 'This is no cursor.', $name),
            'text' => null,
        };
    }

    private static function limits(mixed $value, string $name): void
    {
        self::expect(is_array($value) && ($value === [] || !array_is_list($value)), 'an object', $name);
        $most = ['bits_per_second' => PHP_INT_MAX, 'packets_per_second' => PHP_INT_MAX, 'routers' => 0xffffffff];
        foreach ($value as $limit => $number) {
            self::require(isset($most[$limit]), 'unknown-field', 'There is no such limit.', "{$name}.{$limit}");
            self::number($number, 0, $most[$limit], "{$name}.{$limit}");
        }
    }

    private static function prefixes(mixed $value, string $name): void
    {
        self::expect(is_array($value) && array_is_list($value), 'an array', $name);
        $most = self::LANS_MAX;
        self::require(count($value) <= $most, 'out-of-range', "Has too many items; give 0 to {$most}.", $name);
        foreach ($value as $i => $text) {
            self::text('prefix', $text, "{$name}[{$i}]");
        }
    }

    private static function number(mixed $value, int $least, int $most, string $name, bool $text = false): void
    {
        self::expect(
            $text ? preg_match('/^\d{1,18}$/D', (string) $value) === 1 : is_int($value),
            'an integer',
            $name,
        );
        $inRange = (int) $value >= $least && (int) $value <= $most;
        self::require($inRange, 'out-of-range', "Give {$least} to {$most}.", $name);
    }

    private static function name(string $name): void
    {
        $plain = mb_check_encoding($name, 'UTF-8') && preg_match('/[\p{Cc}\p{Cf}\x{2028}\x{2029}]/u', $name) === 0;
        self::require(
            $plain && $name !== '' && strlen($name) <= 128 && preg_match('/^[\s\p{Z}]|[\s\p{Z}]$/Du', $name) === 0,
            'bad-name',
            'A name has 1 to 128 bytes, without space at either end.',
            'name',
        );
    }

    /** What a prefix may be whoever it belongs to. */
    private static function prefix(Prefix $prefix, string $text, string $field): void
    {
        self::require($prefix->length > 0, 'default-route', 'Name the networks one by one.', $field);
        foreach (self::SPECIAL as $special) {
            self::require(
                !$prefix->overlaps(Prefix::parse($special)),
                'special-prefix',
                "{$text} overlaps {$special}.",
                $field,
            );
        }
        self::require(
            !$prefix->covers(Prefix::parse(self::HUB)),
            'contains-hub',
            "{$text} contains the hub's address.",
            $field,
        );
    }

    private static function expect(bool $right, string $what, string $field): void
    {
        self::require($right, 'wrong-type', "Expected {$what}.", $field);
    }

    private static function require(bool $right, string $type, string $detail, string $field): void
    {
        if (!$right) {
            throw new Refusal(422, $type, $detail, $field);
        }
    }
}
