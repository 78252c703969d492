#include "backend/host/warning.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"

void warning_add(char *warning, const char *format, ...) {
    char sentence[BACKEND_WARNING_SIZE];
    size_t used = strlen(warning);
    va_list args;
    va_start(args, format);
    int size = vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (size > 0 && (size_t)size < sizeof sentence && used + (size_t)size + 2 < BACKEND_WARNING_SIZE &&
        !strstr(warning, sentence)) {
        if (used) {
            warning[used++] = ' ';
        }
        memcpy(warning + used, sentence, (size_t)size + 1);
    }
}
