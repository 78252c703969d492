<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Exceptions;

use Illuminate\Validation\ValidationException as LaravelValidationException;

/** A field or parameter is wrong, missing or unknown. */
final class ValidationException extends RequestException
{
    /**
     * Laravel's own exception, for a form to show: field names are those of the gateway unless renamed.
     *
     * @param  array<string, string>  $names  the form's name for a field of the gateway, such as ['lans' => 'networks']
     */
    public function forForm(array $names = []): LaravelValidationException
    {
        $errors = [];
        foreach ($this->errors() as $field => $messages) {
            [$first, $rest] = explode('.', $field, 2) + [1 => null];
            $name = $names[$field] ?? ($names[$first] ?? $first) . ($rest === null ? '' : ".{$rest}");
            $errors[$name] = $messages;
        }

        return LaravelValidationException::withMessages($errors);
    }
}
