<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Console;

use Illuminate\Console\Command;
use Sallyport\Laravel\Enums\DatabaseMode;

final class InstallCommand extends Command
{
    protected $signature = 'sallyport:install
        {--socket= : the gateway\'s Unix socket, as it is mounted here}
        {--url= : the gateway\'s URL, if it is not on this host}
        {--database= : what the two tables are here: shared, mirror or none}
        {--force : overwrite a configuration that was published before}';

    protected $description = 'Publish the configuration, write what you give into .env, and check the connection';

    public function handle(): int
    {
        $mode = $this->option('database');
        if ($mode !== null && DatabaseMode::tryFrom($mode) === null) {
            $this->error("--database={$mode}: it must be shared, mirror or none.");

            return 2;
        }
        $this->call('vendor:publish', ['--tag' => 'sallyport-config', '--force' => (bool) $this->option('force')]);
        if (($mode ?? config('sallyport.database.mode')) === DatabaseMode::Mirror->value) {
            $this->call('vendor:publish', ['--tag' => 'sallyport-migrations']);
            $this->line('Run "php artisan migrate", then "php artisan sallyport:sync".');
        }
        $options = ['socket' => 'sallyport.socket', 'url' => 'sallyport.url', 'database' => 'sallyport.database.mode'];
        foreach ($options as $option => $key) {
            $value = $this->option($option);
            if ($value !== null) {
                $this->remember('SALLYPORT_' . strtoupper($option), $value);
                config([$key => $value]);
            }
        }
        $this->newLine();

        return $this->call('sallyport:doctor');
    }

    /** Sets a variable in .env, where there is one, and leaves the rest of the file as it is. */
    private function remember(string $name, string $value): void
    {
        $file = $this->laravel->environmentFilePath();
        $line =
            $name .
            '=' .
            (preg_match('/^[\w.\/:-]*$/', $value) === 1 ? $value : '"' . addcslashes($value, '"\\$') . '"');
        if (!is_file($file)) {
            $this->warn("There is no {$file}; set {$line} in the environment.");

            return;
        }
        $text = (string) file_get_contents($file);
        $pattern = '/^' . preg_quote($name, '/') . '=.*$/m';
        $text =
            preg_match($pattern, $text) === 1
                ? preg_replace_callback($pattern, static fn (): string => $line, $text)
                : rtrim($text, "\n") . "\n{$line}\n";
        file_put_contents($file, $text);
        $this->info("{$file}: {$line}");
    }
}
