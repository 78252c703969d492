#include "export/formats.h"

#include <string.h>

#include "export/networkd.h"
#include "export/openwrt.h"
#include "export/qr.h"
#include "export/routeros.h"
#include "export/wgquick.h"

const struct export_format export_formats[] = {
    {"wg-quick", "text/plain; charset=utf-8", wgquick_format},
    {"routeros", "text/plain; charset=utf-8", routeros_format},
    {"openwrt", "text/plain; charset=utf-8", openwrt_format},
    {"networkd", "text/plain; charset=utf-8", networkd_format},
    {"qr", "image/svg+xml", qr_format},
};
const size_t export_format_count = sizeof export_formats / sizeof export_formats[0];

const struct export_format *export_format_find(const char *name) {
    for (size_t i = 0; i < export_format_count; i++) {
        if (strcmp(export_formats[i].name, name) == 0) {
            return &export_formats[i];
        }
    }
    return NULL;
}
