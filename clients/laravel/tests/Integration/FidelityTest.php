<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Integration;

use Illuminate\Support\Str;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Data\NewRouter;
use Sallyport\Laravel\Data\NewTenant;
use Sallyport\Laravel\Enums\Addressing;
use Sallyport\Laravel\Exceptions\RequestException;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\RetryPolicy;
use Sallyport\Laravel\Testing\SallyportFake;

/** The fake refuses what the gateway refuses, as it does: asked the same, both give the same status, type and field. */
final class FidelityTest extends IntegrationTestCase
{
    private const ABSENT = '0190b6a4-0000-7d2f-8a5b-6c7d8e9f0a1b';
    private const KEY = 'BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=';

    /** @var list<array{Client, string}>  to be removed */
    private array $made = [];

    protected function tearDown(): void
    {
        foreach ($this->made as [$client, $tenantId]) {
            $client->tenants()->delete($tenantId);
        }
        parent::tearDown();
    }

    public function test_the_fake_refuses_as_the_gateway_does(): void
    {
        $real = $this->answers($this->sallyport());
        $fake = $this->answers(new SallyportFake());
        self::assertSame($real, $fake);
        $refused = array_filter($real, static fn (string $answer): bool => $answer !== 'done');
        self::assertGreaterThan(80, count($refused));
        self::assertGreaterThan(5, count($real) - count($refused));
    }

    /** @return array<string, string> */
    private function answers(Client $client): array
    {
        $places = $this->places($client);
        $answers = [];
        foreach (self::cases() as $case) {
            [$method, $path, $body, $query, $key] = $case + [2 => null, 3 => [], 4 => null];
            $request = new Request(
                $method,
                strtr($path, $places),
                array_map(static fn (mixed $each): mixed => is_string($each) ? strtr($each, $places) : $each, $query),
                $body === null ? null : self::filled($body, $places),
                $key === null ? [] : ['Idempotency-Key' => $key],
            );
            try {
                $client->send($request);
                $answer = 'done';
            } catch (RequestException $refused) {
                $answer = "{$refused->status()} {$refused->type()} {$refused->field()}";
            }
            $answers[Str::limit((string) json_encode($case, JSON_UNESCAPED_SLASHES), 160)] = $answer;
        }

        return $answers;
    }

    /** @return array<string, string> */
    private function places(Client $client): array
    {
        $private = $client->tenants()->create(
            new NewTenant('Private ' . Str::random(8), addressing: Addressing::Private, subnet: '10.100.0.0/24'),
        );
        $unique = $client->tenants()->create(new NewTenant('Unique ' . Str::random(8)));
        $lans = ['192.168.88.0/24'];
        $router = $client->routers()->create($private->id, new NewRouter('Here', lans: $lans))->router;
        $other = $client->routers()->create($private->id, new NewRouter('There'))->router;
        array_push($this->made, [$client, $private->id], [$client, $unique->id]);

        return [
            '{private}' => $private->id,
            '{unique}' => $unique->id,
            '{unique subnet}' => $unique->subnet,
            '{router}' => $router->id,
            '{other}' => $other->id,
            '{address}' => $router->address,
            '{key}' => $router->publicKey,
            '{hub key}' => $client->status()->gateway->publicKey,
        ];
    }

    private static function filled(array $body, array $places): array
    {
        array_walk_recursive($body, static function (mixed &$value) use ($places): void {
            $value = is_string($value) ? strtr($value, $places) : $value;
        });

        return $body;
    }

    /** @return list<array{0: string, 1: string, 2?: array|null, 3?: array, 4?: string}> */
    private static function cases(): array
    {
        $cases = [];
        $tenants = [
            [],
            ['name' => 1],
            ['name' => ''],
            ['name' => ' x'],
            ['name' => "x\u{a0}"],
            ['name' => "a\tb"],
            ['name' => str_repeat('x', 129)],
            ['name' => 'x', 'colour' => 'red'],
            ['name' => 'x', 'id' => 'x'],
            ['name' => 'x', 'id' => '00000000-0000-0000-0000-000000000000'],
            ['name' => 'x', 'id' => '{private}'],
            ['name' => 'x', 'addressing' => 'shared'],
            ['name' => 'x', 'addressing' => true],
            ['name' => 'x', 'egress' => 'yes'],
            ['name' => 'x', 'limits' => [1]],
            ['name' => 'x', 'limits' => ['routers' => -1]],
            ['name' => 'x', 'limits' => ['routers' => 4294967296]],
            ['name' => 'x', 'limits' => ['routers' => '1']],
            ['name' => 'x', 'limits' => ['cats' => 1]],
            ['name' => 'x', 'subnet' => 'everything'],
            ['name' => 'x', 'subnet' => '10.100.0.1/24'],
            ['name' => 'x', 'subnet' => '10.100.0.0/33'],
            ['name' => 'x', 'subnet' => '192.168.0.0/24'],
            ['name' => 'x', 'subnet' => '10.64.0.0/12'],
            ['name' => 'x', 'subnet' => '{unique subnet}'],
            ['name' => 'x', 'subnet' => '10.0.0.0/24'],
        ];
        foreach ($tenants as $body) {
            $cases[] = ['POST', '/v1/tenants', $body];
        }
        $subnets = ['fd00:1::/64', '0.0.0.0/0', '127.0.0.0/8', '224.0.0.0/24', '10.0.0.0/8', '10.100.0.4/31'];
        foreach ($subnets as $subnet) {
            $cases[] = ['POST', '/v1/tenants', ['name' => 'x', 'addressing' => 'private', 'subnet' => $subnet]];
        }
        $routers = [
            [],
            ['name' => 'x', 'tenant_id' => '{private}'],
            ['name' => 'x', 'id' => '{router}'],
            ['name' => 'x', 'public_key' => 'abc'],
            ['name' => 'x', 'public_key' => '{key}'],
            ['name' => 'x', 'public_key' => '{hub key}'],
            ['name' => 'x', 'public_key' => base64_encode(str_repeat("\0", 32))],
            ['name' => 'x', 'public_key' => base64_encode("\1" . str_repeat("\0", 31))],
            ['name' => 'x', 'public_key' => base64_encode("\xec" . str_repeat("\xff", 31))],
            ['name' => 'x', 'public_key' => 'X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc='],
            ['name' => 'x', 'public_key' => self::KEY . "\n"],
            ['name' => 'x', 'preshared_key' => 'make one'],
            ['name' => 'x', 'address' => 'x'],
            ['name' => 'x', 'address' => '10.100.0.9/32'],
            ['name' => 'x', 'address' => 'fd00::9'],
            ['name' => 'x', 'address' => '10.101.0.9'],
            ['name' => 'x', 'address' => '{address}'],
            ['name' => 'x', 'address' => '10.100.0.0'],
            ['name' => 'x', 'address' => '10.100.0.255'],
            ['name' => 'x', 'lans' => '192.168.1.0/24'],
            ['name' => 'x', 'lans' => [1]],
            ['name' => 'x', 'lans' => ['192.168.1.1/24']],
            ['name' => 'x', 'lans' => ['192.168.1.0/24', '192.168.0.0/16']],
            ['name' => 'x', 'lans' => ['0.0.0.0/0']],
            ['name' => 'x', 'lans' => ['169.254.7.0/24']],
            ['name' => 'x', 'lans' => ['fe80::/64']],
            ['name' => 'x', 'lans' => ['10.0.0.0/24']],
            ['name' => 'x', 'lans' => ['10.100.0.0/25']],
            ['name' => 'x', 'lans' => ['192.168.88.128/25']],
            ['name' => 'x', 'lans' => array_map(static fn (int $i): string => "172.16.{$i}.0/24", range(0, 32))],
        ];
        foreach ($routers as $body) {
            $cases[] = ['POST', '/v1/tenants/{private}/routers', $body];
        }
        $queries = [
            '/v1/tenants' => [
                ['color' => 'red'],
                ['limit' => 0],
                ['limit' => 1001],
                ['limit' => 'all'],
                ['addressing' => 'shared'],
                ['status' => 'pending'],
                ['cursor' => 'x'],
                ['limit' => 1],
            ],
            '/v1/routers' => [
                ['q' => 'x', 'colour' => 'red'],
                ['status' => 'away'],
                ['connected' => 'perhaps'],
                ['connected' => true],
                ['public_key' => 'x'],
                ['address' => 'x'],
                ['tenant_id' => 'x'],
                ['tenant_id' => self::ABSENT],
            ],
            '/v1/tenants/{private}/routers' => [['tenant_id' => '{private}'], ['status' => 'pending']],
            '/v1/tenants/' . self::ABSENT . '/routers' => [[]],
            '/v1/events' => [['wait' => 31], ['after' => -1], ['after' => 'x'], ['limit' => 0], ['after' => 0]],
            '/v1/routers/{router}/config' => [['format' => 'papyrus'], ['format' => 'wg-quick'], ['colour' => 'red']],
            '/v1/routers/' . self::ABSENT => [[]],
            '/v1/routers/x' => [[]],
            '/v1/status' => [['colour' => 'red'], []],
            '/v1/nothing' => [[]],
        ];
        foreach ($queries as $path => $each) {
            foreach ($each as $query) {
                $cases[] = ['GET', $path, null, $query];
            }
        }
        return [
            ...$cases,
            ['POST', '/v1/tenants/{unique}/routers', ['name' => 'x'], ['format' => 'papyrus']],
            ['POST', '/v1/tenants/{unique}/routers', ['name' => 'x'], ['format' => 'routeros']],
            ['POST', '/v1/routers/{other}/rotate', [], ['format' => 'papyrus']],
            ['POST', '/v1/tenants/{unique}/routers', ['name' => 'x', 'lans' => ['10.9.0.0/24']]],
            ['POST', '/v1/tenants/{unique}/routers', ['name' => 'x', 'address' => '10.200.0.1']],
            ['POST', '/v1/tenants/' . self::ABSENT . '/routers', ['name' => 'x']],
            ['POST', '/v1/tenants/' . self::ABSENT . '/routers', ['name' => ' x']],
            ['PATCH', '/v1/tenants/{private}', ['addressing' => 'unique']],
            ['PATCH', '/v1/tenants/{private}', ['limits' => ['routers' => 2]]],
            ['POST', '/v1/tenants/{private}/routers', ['name' => 'one too many']],
            ['PATCH', '/v1/tenants/{private}', ['name' => '']],
            ['PATCH', '/v1/tenants/' . self::ABSENT, ['name' => 'x']],
            ['PATCH', '/v1/routers/{other}', ['lans' => ['192.168.88.0/24']]],
            ['PATCH', '/v1/routers/{router}', ['lans' => ['192.168.88.0/24']]],
            ['PATCH', '/v1/routers/{router}', ['public_key' => self::KEY]],
            ['POST', '/v1/routers/{other}/rotate', ['public_key' => '{key}']],
            ['POST', '/v1/routers/{router}/rotate', ['public_key' => '{key}']],
            ['POST', '/v1/routers/{router}/rotate', ['name' => 'x']],
            ['POST', '/v1/routers/' . self::ABSENT . '/rotate', []],
            ['POST', '/v1/routers/' . self::ABSENT . '/disable'],
            ['DELETE', '/v1/routers/' . self::ABSENT],
            ['DELETE', '/v1/tenants/' . self::ABSENT],
            ['PUT', '/v1/routers/{router}'],
            ['POST', '/v1/tokens', ['name' => 'x']],
            ['POST', '/v1/tokens', ['name' => ' x', 'scope' => 'metrics']],
            ['POST', '/v1/tokens', ['name' => 'x', 'scope' => 'root']],
            ['POST', '/v1/tokens', ['name' => 'x', 'scope' => 'tenant-read']],
            ['POST', '/v1/tokens', ['name' => 'x', 'scope' => 'admin', 'tenant_id' => '{private}']],
            ['POST', '/v1/tokens', ['name' => 'x', 'scope' => 'tenant-read', 'tenant_id' => self::ABSENT]],
            ['POST', '/v1/tokens', ['name' => 'x', 'scope' => 'metrics', 'expires_at' => 'tomorrow']],
            ['POST', '/v1/tokens', ['name' => 'x', 'scope' => 'metrics', 'expires_at' => '2020-01-01T00:00:00Z']],
            ['POST', '/v1/tokens', ['name' => 'x', 'scope' => 'tenant-read', 'tenant_id' => '{private}']],
            ['DELETE', '/v1/tokens/' . self::ABSENT],
            ['POST', '/v1/routers/bulk', []],
            ['POST', '/v1/routers/bulk', ['routers' => []]],
            ['POST', '/v1/routers/bulk', ['routers' => array_fill(0, 10001, [])]],
            ['POST', '/v1/tenants/bulk', ['tenants' => 'all']],
            ['POST', '/v1/tenants/bulk', ['tenants' => []]],
            ['POST', '/v1/tenants/bulk', ['tenants' => [['name' => 'x']]], ['return' => 'less']],
            ['POST', '/v1/tenants/bulk', ['tenants' => [['name' => 'x', 'routers' => array_fill(0, 10001, [])]]]],
            ['POST', '/v1/tenants', ['name' => 'x'], [], str_repeat('x', 129)],
        ];
    }
}
