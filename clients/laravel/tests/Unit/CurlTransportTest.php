<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Tests\Unit;

use Closure;
use PHPUnit\Framework\TestCase;
use Sallyport\Laravel\Client;
use Sallyport\Laravel\Exceptions\ConnectionException;
use Sallyport\Laravel\Exceptions\SallyportException;
use Sallyport\Laravel\Exceptions\UnexpectedResponseException;
use Sallyport\Laravel\Http\CurlTransport;
use Sallyport\Laravel\Http\Request;
use Sallyport\Laravel\Http\RetryPolicy;

/** Against a server on a Unix socket that does whatever a test wants of it. */
final class CurlTransportTest extends TestCase
{
    private string $folder;
    private ?int $server = null;

    protected function setUp(): void
    {
        if (!function_exists('pcntl_fork')) {
            self::markTestSkipped('The server of these tests needs ext-pcntl.');
        }
        $this->folder = sys_get_temp_dir() . '/sallyport-curl-' . bin2hex(random_bytes(6));
        mkdir($this->folder, 0700);
    }

    protected function tearDown(): void
    {
        if ($this->server !== null) {
            posix_kill(-$this->server, SIGKILL);
            pcntl_waitpid($this->server, $status);
        }
        if (isset($this->folder)) {
            array_map('unlink', (array) glob("{$this->folder}/*"));
            rmdir($this->folder);
        }
    }

    /** @dataProvider failures */
    public function test_what_is_no_answer_is_an_exception_that_says_where(string $says, string $class): void
    {
        $transport = $this->serve(static function ($connection) use ($says): void {
            fread($connection, 65536);
            fwrite($connection, $says);
        });
        $began = microtime(true);
        try {
            (new Client($transport, RetryPolicy::never()))->counters();
            self::fail('It was taken for an answer.');
        } catch (SallyportException $error) {
            self::assertSame($class, $error::class, $error->getMessage());
        }
        self::assertLessThan(5, microtime(true) - $began);
    }

    /** @return array<string, array{string, class-string}> */
    public static function failures(): array
    {
        $head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

        return [
            'nothing' => ['', ConnectionException::class],
            'half a head' => ['HTTP/1.1 200 OK', ConnectionException::class],
            'half a body' => ["{$head}Content-Length: 100\r\n\r\n{\"counters\"", ConnectionException::class],
            'no HTTP' => ["SSH-2.0-OpenSSH_9.2\r\n", ConnectionException::class],
            'no JSON' => ["{$head}Content-Length: 5\r\n\r\nhello", UnexpectedResponseException::class],
            'elsewhere' => [
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                UnexpectedResponseException::class,
            ],
        ];
    }

    public function test_a_server_that_hangs_is_given_up_in_time(): void
    {
        $transport = $this->serve(static function (): void {
            sleep(30);
        }, timeout: 0.5);
        $began = microtime(true);
        try {
            $transport->send(new Request('GET', '/v1/health'));
            self::fail();
        } catch (ConnectionException $error) {
            self::assertStringContainsString($this->folder, $error->getMessage());
        }
        self::assertEqualsWithDelta(0.5, microtime(true) - $began, 0.4);
    }

    public function test_a_request_goes_out_as_it_should(): void
    {
        $transport = $this->serve(static function ($connection): void {
            $text = (string) fread($connection, 65536);
            $body = json_encode(['text' => $text]);
            $head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " . strlen($body);
            fwrite($connection, "{$head}\r\n\r\n{$body}");
        });
        $headers = ['Idempotency-Key' => 'k'];
        $request = new Request('PATCH', '/v1/routers/x', ['q' => 'a b'], ['name' => 'Zürich/1'], $headers);
        $text = $transport->send($request)->json()['text'];
        self::assertStringStartsWith("PATCH /v1/routers/x?q=a%20b HTTP/1.1\r\n", $text);
        self::assertStringContainsString("\r\nIdempotency-Key: k\r\n", $text);
        self::assertStringContainsString("\r\nContent-Type: application/json\r\n", $text);
        self::assertStringEndsWith("\r\n\r\n{\"name\":\"Zürich/1\"}", $text);
        self::assertStringNotContainsString('Authorization', $text);
        self::assertStringNotContainsString('Expect', $text);
    }

    public function test_the_connection_is_kept_for_the_next_request_and_left_alone_by_a_child(): void
    {
        $transport = $this->serve(function ($connection): void {
            file_put_contents("{$this->folder}/connections", "x", FILE_APPEND);
            while (($text = (string) fread($connection, 65536)) !== '') {
                fwrite($connection, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
            }
        });
        $ask = static fn () => $transport->send(new Request('GET', '/v1/counters'));
        $ask();
        $ask();
        self::assertSame(1, filesize("{$this->folder}/connections"));
        $child = pcntl_fork();
        if ($child === 0) {
            $ask();
            posix_kill(posix_getpid(), SIGKILL);
        }
        pcntl_waitpid($child, $status);
        clearstatcache();
        self::assertSame(2, filesize("{$this->folder}/connections"));
        $ask();
        clearstatcache();
        self::assertSame(2, filesize("{$this->folder}/connections"));
    }

    /** A server that hands each connection to the test, in a process of its own. */
    private function serve(Closure $answer, float $timeout = 5.0): CurlTransport
    {
        $path = "{$this->folder}/api.sock";
        $listening = stream_socket_server("unix://{$path}", $code, $message);
        self::assertIsResource($listening, (string) $message);
        $this->server = pcntl_fork();
        if ($this->server === 0) {
            posix_setpgid(0, 0);
            pcntl_signal(SIGCHLD, SIG_IGN);
            while (true) {
                $connection = stream_socket_accept($listening, 60);
                if ($connection !== false && pcntl_fork() === 0) {
                    $answer($connection);
                    fclose($connection);
                    // nothing of phpunit is to run in here
                    posix_kill(posix_getpid(), SIGKILL);
                }
                if ($connection !== false) {
                    fclose($connection);
                }
            }
        }
        // also here, lest the test is faster than the child
        posix_setpgid($this->server, $this->server);
        fclose($listening);

        return CurlTransport::overSocket($path, 1.0, $timeout);
    }
}
