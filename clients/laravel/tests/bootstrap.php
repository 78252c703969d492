<?php

declare(strict_types=1);

/*
 * With Composer: its autoloader. Without, as with Debian's php-laravel-framework: that package's own and a PSR-4 loader
 * for this one.
 */
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);

if (is_file(__DIR__ . '/../vendor/autoload.php')) {
    require __DIR__ . '/../vendor/autoload.php';
} else {
    require_once 'Illuminate/autoload.php';
    spl_autoload_register(static function (string $class): void {
        $cases = ['Sallyport\\Laravel\\Tests\\' => __DIR__, 'Sallyport\\Laravel\\' => dirname(__DIR__) . '/src'];
        foreach ($cases as $prefix => $folder) {
            if (str_starts_with($class, $prefix)) {
                $file = $folder . '/' . str_replace('\\', '/', substr($class, strlen($prefix))) . '.php';
                if (is_file($file)) {
                    require $file;

                    return;
                }
            }
        }
    });
}
