/* What does not work although all else does, in sentences for people: a list in a text of BACKEND_WARNING_SIZE. */
#pragma once

/* What does not fit is left out as a whole; what is there already is not said twice. */
void warning_add(char *warning, const char *format, ...) __attribute__((format(printf, 2, 3)));
