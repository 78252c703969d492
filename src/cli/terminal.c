#include "cli/terminal.h"

#include <stdbool.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* Decodes one character. Returns its bytes and width; bytes that are no printable character count as one "?". */
static size_t decode(const char *text, size_t left, int *ret_width, bool *ret_printable) {
    wchar_t wide;
    mbstate_t state = {0};
    if (*text >= ' ' && *text <= '~') { /* most of what there is, and the locale has no say in it */
        *ret_width = 1;
        *ret_printable = true;
        return 1;
    }
    size_t size = mbrtowc(&wide, text, left, &state);
    bool whole = size != (size_t)-1 && size != (size_t)-2 && size != 0;
    int width = whole ? wcwidth(wide) : -1;
    /* bidirectional controls have width 0 but reorder what follows them */
    bool bidi = whole && ((wide >= 0x202a && wide <= 0x202e) || (wide >= 0x2066 && wide <= 0x2069));
    *ret_printable = whole && width >= 0 && !bidi;
    *ret_width = *ret_printable ? width : 1;
    return whole ? size : 1;
}

size_t terminal_width(const char *text) {
    size_t width = 0, left = strlen(text);
    while (left) {
        int columns;
        bool printable;
        size_t size = decode(text, left, &columns, &printable);
        width += (size_t)columns;
        text += size;
        left -= size;
    }
    return width;
}

void terminal_clean(struct buf *out, const char *text) {
    size_t left = strlen(text);
    while (left) {
        int columns;
        bool printable;
        size_t size = decode(text, left, &columns, &printable);
        if (printable) {
            buf_append(out, text, size);
        } else {
            buf_text(out, "?");
        }
        text += size;
        left -= size;
    }
    buf_text(out, "");
}
