#include "cli/import/text.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "export/shell.h"

#define KEY_RUN 43         /* characters of base64 in a key, without its "=" */
#define KEY_PART_RUN 20    /* as many might be most of a key */
#define URL_CASE_CHANGES 8 /* a key has 14 at the average */

size_t text_mark_size(const char *text) {
    return strncmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

bool text_is_utf16(const char *bytes, size_t size) {
    if (size >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0)) {
        return true;
    }
    return size >= 4 &&
           ((!bytes[0] && bytes[1] && !bytes[2] && bytes[3]) || (bytes[0] && !bytes[1] && bytes[2] && !bytes[3]));
}

/* --- what cannot be seen --- */

static const struct {
    const char *bytes; /* UTF-8 */
    const char *name;
} invisible[] = {
    {"\xc2\xa0", "no-break space (U+00A0)"},
    {"\xc2\xad", "soft hyphen (U+00AD)"},
    {"\xe1\xa0\x8e", "Mongolian vowel separator (U+180E)"},
    {"\xe2\x80\x80", "en quad (U+2000)"},
    {"\xe2\x80\x81", "em quad (U+2001)"},
    {"\xe2\x80\x82", "en space (U+2002)"},
    {"\xe2\x80\x83", "em space (U+2003)"},
    {"\xe2\x80\x84", "three-per-em space (U+2004)"},
    {"\xe2\x80\x85", "four-per-em space (U+2005)"},
    {"\xe2\x80\x86", "six-per-em space (U+2006)"},
    {"\xe2\x80\x87", "figure space (U+2007)"},
    {"\xe2\x80\x88", "punctuation space (U+2008)"},
    {"\xe2\x80\x89", "thin space (U+2009)"},
    {"\xe2\x80\x8a", "hair space (U+200A)"},
    {"\xe2\x80\x8b", "zero width space (U+200B)"},
    {"\xe2\x80\x8c", "zero width non-joiner (U+200C)"},
    {"\xe2\x80\x8d", "zero width joiner (U+200D)"},
    {"\xe2\x80\x8e", "left-to-right mark (U+200E)"},
    {"\xe2\x80\x8f", "right-to-left mark (U+200F)"},
    {"\xe2\x80\xa8", "line separator (U+2028)"},
    {"\xe2\x80\xa9", "paragraph separator (U+2029)"},
    {"\xe2\x80\xaa", "left-to-right embedding (U+202A)"},
    {"\xe2\x80\xab", "right-to-left embedding (U+202B)"},
    {"\xe2\x80\xac", "pop directional formatting (U+202C)"},
    {"\xe2\x80\xad", "left-to-right override (U+202D)"},
    {"\xe2\x80\xae", "right-to-left override (U+202E)"},
    {"\xe2\x80\xaf", "narrow no-break space (U+202F)"},
    {"\xe2\x81\x9f", "medium mathematical space (U+205F)"},
    {"\xe2\x81\xa0", "word joiner (U+2060)"},
    {"\xe2\x81\xa6", "left-to-right isolate (U+2066)"},
    {"\xe2\x81\xa7", "right-to-left isolate (U+2067)"},
    {"\xe2\x81\xa9", "pop directional isolate (U+2069)"},
    {"\xe3\x80\x80", "ideographic space (U+3000)"},
    {"\xef\xbb\xbf", "byte order mark (U+FEFF)"},
    {"\xa0", "no-break space of an old encoding (byte A0)"}, /* behind all that is UTF-8 */
};

/* U+0001 to U+001F by number, U+007F as 32. The blanks among them are not asked for. */
static const char *const controls[33] = {
    [0x01] = "control character U+0001",
    [0x02] = "control character U+0002",
    [0x03] = "control character U+0003",
    [0x04] = "control character U+0004",
    [0x05] = "control character U+0005",
    [0x06] = "control character U+0006",
    [0x07] = "bell (U+0007)",
    [0x08] = "backspace (U+0008)",
    [0x0e] = "control character U+000E",
    [0x0f] = "control character U+000F",
    [0x10] = "control character U+0010",
    [0x11] = "control character U+0011",
    [0x12] = "control character U+0012",
    [0x13] = "control character U+0013",
    [0x14] = "control character U+0014",
    [0x15] = "control character U+0015",
    [0x16] = "control character U+0016",
    [0x17] = "control character U+0017",
    [0x18] = "control character U+0018",
    [0x19] = "control character U+0019",
    [0x1a] = "end of file of DOS (U+001A)",
    [0x1b] = "escape (U+001B)",
    [0x1c] = "control character U+001C",
    [0x1d] = "control character U+001D",
    [0x1e] = "control character U+001E",
    [0x1f] = "control character U+001F",
    [0x20] = "delete (U+007F)",
};

/* Bytes of the UTF-8 character that begins here, 1 if none does. */
static size_t character_size(const char *text) {
    unsigned char first = (unsigned char)*text;
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1;
    for (size_t i = 1; i < size; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) {
            return 1;
        }
    }
    return size;
}

const char *text_invisible(const char *text) {
    for (; *text; text += character_size(text)) {
        unsigned char c = (unsigned char)*text;
        const char *control = c < 0x20 ? controls[c] : c == 0x7f ? controls[0x20] : NULL;
        if (control) {
            return control;
        }
        for (size_t i = 0; c >= 0x80 && i < sizeof invisible / sizeof *invisible; i++) {
            if (strncmp(text, invisible[i].bytes, strlen(invisible[i].bytes)) == 0 &&
                strlen(invisible[i].bytes) == character_size(text)) {
                return invisible[i].name;
            }
        }
    }
    return NULL;
}

/* --- keys --- */

static bool is_base64(char c) {
    return isalnum((unsigned char)c) || c == '+' || c == '/';
}

static bool changes_case(char before, char c) {
    return (islower((unsigned char)before) && isupper((unsigned char)c)) ||
           (isupper((unsigned char)before) && islower((unsigned char)c));
}

/* The longest stretch of characters of base64. Its form for URLs has "-" and "_", as names of many words do; but no
 * name changes between small and capital letters as often as random bytes. */
static size_t longest_run(const char *text) {
    size_t longest = 0, run = 0, url_run = 0, changes = 0;
    for (char before = 0; *text; before = *text++) {
        run = is_base64(*text) ? run + 1 : 0;
        url_run = is_base64(*text) || *text == '-' || *text == '_' ? url_run + 1 : 0;
        changes = url_run ? changes + changes_case(before, *text) : 0;
        longest = run > longest ? run : longest;
        longest = url_run > longest && changes >= URL_CASE_CHANGES ? url_run : longest;
    }
    return longest;
}

/* A key that blanks break up: its characters are followed by the "=" that ends every key. */
static bool holds_broken_key(const char *text) {
    size_t run = 0;
    for (; *text; text++) {
        if (*text == '=' && run >= KEY_RUN) {
            return true;
        }
        run = is_base64(*text) ? run + 1 : isspace((unsigned char)*text) ? run : 0;
    }
    return false;
}

bool text_holds_key(const char *text) {
    return longest_run(text) >= KEY_RUN || holds_broken_key(text);
}

bool text_may_be_shown(const char *text) {
    return longest_run(text) < KEY_PART_RUN && !holds_broken_key(text);
}

/* --- for a shell --- */

void text_put_word(struct buf *out, const char *text) {
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+:@%,=-";
    if (*text && strspn(text, harmless) == strlen(text)) {
        buf_text(out, text);
    } else {
        shell_quote(out, text);
    }
}
