#include "export/shell.h"

#include <string.h>

void shell_quote(struct buf *out, const char *text) {
    buf_text(out, "'");
    for (const char *at = text; *at; at++) {
        if (*at == '\'') {
            buf_text(out, "'\\''");
        } else {
            buf_append(out, at, 1);
        }
    }
    buf_text(out, "'");
}

void shell_begin(struct buf *out, const struct export_router *r, const char *what) {
    buf_printf(out, "#!/bin/sh\n# %s of %s\n# %s\nset -eu\n", r->router_name, r->tenant_name, what);
}

void shell_check_key(struct buf *out, const struct export_router *r, const char *command) {
    char key[KEY_BASE64_SIZE];
    buf_printf(out, "public=$(%s)\n[ \"$public\" = ", command);
    shell_quote(out, key_to_base64(&r->public_key, key));
    buf_text(out, " ] || {\n"
                  "    echo \"The key of this router is another one than the gateway knows. At the gateway:\" >&2\n"
                  "    echo \"sallyport router rotate ROUTER --public-key $public\" >&2\n"
                  "    exit 1\n"
                  "}\n");
}
