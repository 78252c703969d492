#include "export/qr.h"

#include <errno.h>
#include <qrencode.h>
#include <sodium.h>

#include "export/wgquick.h"

#define QUIET 4 /* modules around a code (ISO/IEC 18004) */

/* Modules along a side that a phone's camera still tells apart on a screen: version 25 of the code, 1,273 bytes. The
 * standard goes on to 177, which hardly any camera reads. */
#define WIDTH_MAX 117

/* It may hold a private key. */
static void wipe(QRcode *code) {
    sodium_memzero(code->data, (size_t)code->width * (size_t)code->width);
    QRcode_free(code);
}

static int encode(const char *text, QRcode **ret_code) {
    /* the lowest level: a screen is not scratched, and fewer modules are read by poorer cameras */
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (!code) {
        return errno == ERANGE ? -EMSGSIZE : -ENOMEM;
    }
    if (code->width > WIDTH_MAX) {
        wipe(code);
        return -EMSGSIZE;
    }
    *ret_code = code;
    return 0;
}

static bool is_dark(const QRcode *code, int x, int y) {
    bool inside = x >= 0 && y >= 0 && x < code->width && y < code->width;
    return inside && code->data[y * code->width + x] & 1;
}

static void svg(const QRcode *code, struct buf *out) {
    int size = code->width + 2 * QUIET;
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" shape-rendering=\"crispEdges\">\n"
               "<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/>\n<path d=\"",
               size, size, size, size);
    for (int y = 0; y < code->width; y++) {
        for (int x = 0; x < code->width; x++) {
            int from = x;
            while (is_dark(code, x, y)) {
                x++;
            }
            if (x > from) {
                buf_printf(out, "M%d %dh%dv1h-%dz", from + QUIET, y + QUIET, x - from, x - from);
            }
        }
    }
    buf_text(out, "\"/>\n</svg>\n");
}

int qr_format(const struct export_router *r, struct buf *out) {
    struct buf text = {0};
    QRcode *code = NULL;
    int error = wgquick_format(r, &text);
    error = error < 0 ? error : encode(text.data, &code);
    buf_free(&text);
    if (error < 0) {
        return error;
    }
    svg(code, out);
    wipe(code);
    return out->failed ? -ENOMEM : 0;
}

int qr_draw(const char *text, struct buf *out) {
    /* by the upper and the lower module, whether each is dark */
    static const char *const halves[2][2] = {{" ", "\u2584"}, {"\u2580", "\u2588"}};
    QRcode *code = NULL;
    int error = encode(text, &code);
    if (error < 0) {
        return error;
    }
    for (int y = -QUIET; y < code->width + QUIET; y += 2) {
        buf_text(out, "\033[30;107m"); /* black on white */
        for (int x = -QUIET; x < code->width + QUIET; x++) {
            buf_text(out, halves[is_dark(code, x, y)][is_dark(code, x, y + 1)]);
        }
        buf_text(out, "\033[0m\n");
    }
    wipe(code);
    return out->failed ? -ENOMEM : 0;
}
