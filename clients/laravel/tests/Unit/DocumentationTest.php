<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use PHPUnit\Framework\TestCase;
use ReflectionClass;
use Sallyport\Laravel\TenantVpnTunnelService;
use Sallyport\Laravel\Testing\SallyportFake;

/** What README and examples promise. */
final class DocumentationTest extends TestCase
{
    public function test_every_variable_is_documented(): void
    {
        preg_match_all("/env\('([A-Z_]+)'/", self::read('config/sallyport.php'), $used);
        foreach ($used[1] as $name) {
            self::assertStringContainsString("`{$name}`", self::read('README.md'));
        }
    }

    public function test_no_variable_is_documented_that_is_not_used(): void
    {
        preg_match_all('/\b(?:SALLYPORT|VPN)_[A-Z_]+\b/', self::read('README.md'), $named);
        foreach (array_unique($named[0]) as $name) {
            self::assertStringContainsString("'{$name}'", self::read('config/sallyport.php'), $name);
        }
    }

    public function test_every_assertion_and_method_that_is_shown_exists(): void
    {
        preg_match_all('/\b(assert[A-Z]\w+)/', self::read('README.md'), $named);
        foreach (array_diff(array_unique($named[1]), ['assertOk']) as $name) {
            self::assertTrue(method_exists(SallyportFake::class, $name), $name);
        }
        preg_match_all('/^\| `(\w+)\(/m', self::read('README.md'), $first);
        preg_match_all('/^\| .*, `(\w+)\(\$(?:tunnel|configuration)/m', self::read('README.md'), $second);
        foreach (array_merge($first[1], $second[1]) as $name) {
            self::assertTrue(method_exists(TenantVpnTunnelService::class, $name), $name);
        }
        self::assertGreaterThan(8, count($first[1]) + count($second[1]));
    }

    public function test_every_method_of_the_service_is_shown(): void
    {
        foreach ((new ReflectionClass(TenantVpnTunnelService::class))->getMethods() as $method) {
            if ($method->isPublic() && !$method->isConstructor()) {
                self::assertStringContainsString("`{$method->name}(", self::read('README.md'));
            }
        }
    }

    public function test_the_examples_of_php_can_be_parsed(): void
    {
        preg_match_all('/```php\n(.*?)```/s', self::read('README.md'), $blocks);
        self::assertNotEmpty($blocks[1]);
        foreach ($blocks[1] as $block) {
            // methods stand alone in a README
            $inClass = preg_match('/^public function/m', $block) === 1;
            $code = preg_replace('/^(use |\$vpn->).*$/m', '', $block);
            token_get_all('<?php ' . ($inClass ? "class Example {\n{$code}\n}" : $block), TOKEN_PARSE);
        }
    }

    public function test_the_backend_of_the_example_has_a_socket_and_no_power(): void
    {
        $compose = self::read('examples/compose.yaml');
        [$shared, $services] = explode("\nservices:\n", $compose);
        $backend = substr($shared, (int) strpos($shared, 'x-backend:'));
        self::assertStringNotContainsString('docker.sock', preg_replace('/^#.*$/m', '', $compose));
        foreach (['network_mode', 'privileged', 'cap_add', 'devices'] as $power) {
            self::assertStringNotContainsString($power, $backend);
        }
        self::assertStringContainsString('sallyport-run:/run/sallyport', $backend);
        foreach (['VPN_MODE', 'VPN_INTERFACE', 'VPN_SERVER_IP', 'VPN_SERVER_PORT'] as $name) {
            self::assertStringContainsString("{$name}:", $shared);
        }
        self::assertSame(2, substr_count($compose, '<<: *vpn'), 'both have the same variables');
        self::assertSame(1, substr_count($services, 'network_mode: host'));
    }

    private static function read(string $file): string
    {
        return (string) file_get_contents(dirname(__DIR__, 2) . "/{$file}");
    }
}
