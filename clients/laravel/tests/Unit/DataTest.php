<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Error;
use Illuminate\Support\Str;
use PHPUnit\Framework\TestCase;
use ReflectionClass;
use ReflectionProperty;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\BackendStatus;
use Sallyport\Laravel\Data\Counts;
use Sallyport\Laravel\Data\Event;
use Sallyport\Laravel\Data\Gateway;
use Sallyport\Laravel\Data\GatewayStatus;
use Sallyport\Laravel\Data\Health;
use Sallyport\Laravel\Data\Limits;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Data\PoolStatus;
use Sallyport\Laravel\Data\ReconcileStatus;
use Sallyport\Laravel\Data\Record;
use Sallyport\Laravel\Data\Router;
use Sallyport\Laravel\Data\Status;
use Sallyport\Laravel\Data\StoreStatus;
use Sallyport\Laravel\Data\Tenant;
use Sallyport\Laravel\Data\Token;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Enums\ConfigFormat;
use Sallyport\Laravel\Enums\RouterStatus;
use Sallyport\Laravel\Enums\TenantStatus;
use Sallyport\Laravel\Enums\TokenScope;
use Sallyport\Laravel\Testing\InMemoryGateway;

/** The types against the gateway's own document, where it is at hand. */
final class DataTest extends TestCase
{
    /** @dataProvider resources */
    public function test_a_type_has_all_that_the_document_promises(
        string $class,
        string $schema,
        ?string $member = null,
    ): void {
        $properties = $this->schema($schema)['properties'];
        $promised = array_keys($member === null ? $properties : $properties[$member]['properties']);
        $properties = array_map(
            static fn (ReflectionProperty $property): string => strtolower(
                (string) preg_replace('/(?<!^)[A-Z]/', '_$0', $property->name),
            ),
            array_filter(
                (new ReflectionClass($class))->getProperties(ReflectionProperty::IS_PUBLIC),
                static fn (ReflectionProperty $property): bool => $property->isReadOnly(),
            ),
        );
        $comment = (string) (new ReflectionClass($class))->getDocComment();
        preg_match_all('/@property-read \S+ \$(\w+)/', $comment, $secrets);
        self::assertSame(
            [],
            array_values(array_diff($promised, $properties, array_map(Str::snake(...), $secrets[1]))),
        );
    }

    /** @return array<string, array{class-string, string}> */
    public static function resources(): array
    {
        return [
            'tenant' => [Tenant::class, 'Tenant'],
            'router' => [Router::class, 'RouterFields'],
            'token' => [Token::class, 'TokenFields'],
            'event' => [Event::class, 'Event'],
            'gateway' => [Gateway::class, 'Gateway'],
            'status' => [Status::class, 'Status'],
            'status of the gateway' => [GatewayStatus::class, 'StatusGateway'],
            'status of the data plane' => [BackendStatus::class, 'StatusBackend'],
            'status of the store' => [StoreStatus::class, 'Status', 'store'],
            'counts' => [Counts::class, 'Status', 'counts'],
            'status of the pool' => [PoolStatus::class, 'Status', 'pool'],
            'status of reconciling' => [ReconcileStatus::class, 'Status', 'reconcile'],
            'health' => [Health::class, 'Health'],
            'limits' => [Limits::class, 'Limits'],
            'new tenant' => [NewTenant::class, 'BulkTenant'],
            'new router' => [NewRouter::class, 'RouterOfTenantCreate'],
        ];
    }

    /** @dataProvider enums */
    public function test_an_enumeration_is_the_documents(string $enum, array $place): void
    {
        $values = $this->document();
        foreach ($place as $step) {
            $values = $values[$step];
        }
        $cases = array_column($enum::cases(), 'value');
        self::assertEqualsCanonicalizing($values, $cases);
    }

    /** @return array<string, array{class-string, list<string>}> */
    public static function enums(): array
    {
        $schemas = ['components', 'schemas'];

        return [
            'addressing' => [Addressing::class, [...$schemas, 'Addressing', 'enum']],
            'tenant status' => [TenantStatus::class, [...$schemas, 'TenantStatus', 'enum']],
            'router status' => [RouterStatus::class, [...$schemas, 'RouterStatus', 'enum']],
            'scope' => [TokenScope::class, [...$schemas, 'Scope', 'enum']],
            'format' => [ConfigFormat::class, [...$schemas, 'ConfigFormat', 'enum']],
        ];
    }

    public function test_properties_cannot_be_written(): void
    {
        $tenant = $this->client()->tenants()->create(new NewTenant('Acme'));
        $this->expectException(Error::class);
        $tenant->name = 'Other';
    }

    public function test_times_keep_their_microseconds_and_zone(): void
    {
        $event = new Event([
            'revision' => 1,
            'at' => '2026-01-31T12:34:56.789012Z',
            'kind' => 'x.y',
            'tenant_id' => null,
            'router_id' => null,
            'actor' => 'uid:0',
        ]);
        self::assertSame('2026-01-31T12:34:56.789012+00:00', $event->at->format('Y-m-d\TH:i:s.uP'));
    }

    public function test_what_a_newer_gateway_adds_is_kept(): void
    {
        $health = new Health([
            'status' => 'ok',
            'version' => '9',
            'store' => 'ok',
            'backend' => 'ok',
            'moon' => 'full',
        ]);
        self::assertSame('full', $health->toArray()['moon']);
        self::assertSame('full', json_decode(json_encode($health), true)['moon']);
        self::assertInstanceOf(Record::class, $health);
    }

    private function client(): Client
    {
        return new Client(new InMemoryGateway());
    }

    private function schema(string $name): array
    {
        return $this->document()['components']['schemas'][$name];
    }

    private function document(): array
    {
        $file = dirname(__DIR__, 4) . '/src/api/openapi.json';
        if (!is_file($file)) {
            self::markTestSkipped('The gateway\'s sources are not at hand.');
        }

        return json_decode((string) file_get_contents($file), true, 64, JSON_THROW_ON_ERROR);
    }
}
