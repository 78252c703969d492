<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use FilesystemIterator;
use PhpParser\Node;
use PhpParser\Node\Expr;
use PhpParser\Node\Stmt;
use PhpParser\NodeFinder;
use PhpParser\Parser;
use PhpParser\ParserFactory;
use PHPUnit\Framework\TestCase;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/** composer.json says PHP 8.1: nothing in the package is newer, whatever PHP these tests run on. */
final class CompatibilityTest extends TestCase
{
    private const NEWER_FUNCTIONS = [
        'array_all', 'array_any', 'array_find', 'array_find_key', 'array_first', 'array_last', 'curl_upkeep',
        'ini_parse_quantity', 'json_validate', 'libxml_get_external_entity_loader', 'mb_lcfirst', 'mb_ltrim',
        'mb_rtrim', 'mb_str_pad', 'mb_trim', 'mb_ucfirst', 'memory_reset_peak_usage', 'openssl_cipher_key_length',
        'request_parse_body', 'sodium_crypto_stream_xchacha20_xor_ic', 'str_decrement', 'str_increment',
    ];

    public function test_nothing_is_newer_than_php_8_1(): void
    {
        $found = [];
        foreach (self::files() as $file) {
            foreach (self::newer((string) file_get_contents($file)) as $line => $what) {
                $found[] = "{$file}:{$line}: {$what}";
            }
        }
        self::assertSame([], $found);
    }

    /** @dataProvider newerCode */
    public function test_what_is_newer_is_found(string $code): void
    {
        self::assertNotSame([], self::newer("<?php\n{$code}"));
    }

    /** @return array<string, array{string}> */
    public static function newerCode(): array
    {
        return [
            'a readonly class' => ['readonly class A {}'],
            'a constant in a trait' => ['trait T { const X = 1; }'],
            'true as a type' => ['function f(): true { return true; }'],
            'true in a union' => ['class A { public true|int $x; }'],
            'null as a type' => ['function f(null $x) {}'],
            'false or null' => ['function f(): false|null { return null; }'],
            'an intersection in a union' => ['function f((A&B)|null $x) {}'],
            'a property of an enumeration in a constant' => ['class A { const X = B::C->value; }'],
            'a constant with a type' => ['class A { const int X = 1; }'],
            'a function' => ['json_validate("{}");'],
            'a name space' => ['new \Random\Randomizer();'],
        ];
    }

    /** @return list<string> */
    private static function files(): array
    {
        $files = [];
        foreach (['config', 'database', 'src', 'tests'] as $folder) {
            $all = new RecursiveDirectoryIterator(dirname(__DIR__, 2) . "/{$folder}", FilesystemIterator::SKIP_DOTS);
            foreach (new RecursiveIteratorIterator($all) as $file) {
                $files[] = $file->getPathname();
            }
        }

        return array_values(array_filter($files, static fn (string $file): bool => str_ends_with($file, '.php')));
    }

    /** @return array<int, string>  what is newer, by line */
    private static function newer(string $code): array
    {
        // the parser of old does not know what is newest: that does not get by either
        try {
            $tree = self::parser()->parse($code) ?? [];
        } catch (\PhpParser\Error $error) {
            return [$error->getStartLine() => $error->getRawMessage()];
        }
        $found = [];
        foreach ((new NodeFinder())->find($tree, static fn (): bool => true) as $node) {
            $what = self::newerNode($node);
            if ($what !== null) {
                $found[$node->getStartLine()] = $what;
            }
        }

        return $found;
    }

    private static function newerNode(Node $node): ?string
    {
        $types = match (true) {
            $node instanceof Stmt\Property, $node instanceof Node\Param => [$node->type],
            $node instanceof Node\FunctionLike => [$node->getReturnType()],
            default => [],
        };
        foreach (array_filter($types) as $type) {
            if (self::isNewType($type)) {
                return 'this type';
            }
        }

        return match (true) {
            $node instanceof Stmt\Class_ && method_exists($node, 'isReadonly') && $node->isReadonly() => 'readonly',
            $node instanceof Stmt\Trait_ && array_filter($node->stmts, self::isConstant(...)) !== [] => 'constant',
            $node instanceof Stmt\ClassConst && ($node->type ?? null) !== null => 'typed constant',
            $node instanceof Node\Const_ && self::fetches($node->value) => 'fetch in a constant',
            $node instanceof Node\Param && $node->default !== null && self::fetches($node->default) => 'fetch',
            $node instanceof Expr\FuncCall &&
                $node->name instanceof Node\Name &&
                in_array(strtolower($node->name->getLast()), self::NEWER_FUNCTIONS, true) => "{$node->name}()",
            $node instanceof Node\Name && str_starts_with($node->toString(), 'Random\\') => 'the name space Random',
            default => null,
        };
    }

    private static function isNewType(Node $type): bool
    {
        $names = array_map(
            static fn (Node $each): string => $each instanceof Node\Identifier ? strtolower($each->name) : '',
            $type instanceof Node\UnionType ? $type->types : [$type],
        );
        $intersections = array_filter(
            $type instanceof Node\UnionType ? $type->types : [],
            static fn (Node $each): bool => $each instanceof Node\IntersectionType,
        );

        return in_array('true', $names, true) || array_diff($names, ['null', 'false']) === [] || $intersections !== [];
    }

    private static function isConstant(Node $node): bool
    {
        return $node instanceof Stmt\ClassConst;
    }

    private static function fetches(Node $value): bool
    {
        return (new NodeFinder())->findFirstInstanceOf([$value], Expr\PropertyFetch::class) !== null;
    }

    private static function parser(): Parser
    {
        $factory = new ParserFactory();

        return method_exists($factory, 'createForNewestSupportedVersion')
            ? $factory->createForNewestSupportedVersion()
            : $factory->create(ParserFactory::PREFER_PHP7);
    }
}
