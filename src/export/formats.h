/* The forms in which a router's configuration can be had, in one table. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "export/router_config.h"

/* Appends the text. 0; -EINVAL: a field would break out of its line or is missing (a name with a control character, a
 * host that is none); -EMSGSIZE: it is longer than this form can hold; -ENOMEM. After an error what was appended is of
 * no use. */
typedef int export_format_fn(const struct export_router *router, struct buf *out);

struct export_format {
    const char *name;         /* as in `?format=` */
    const char *content_type; /* of the answer over HTTP */
    export_format_fn *format;
};

extern const struct export_format export_formats[];
extern const size_t export_format_count;

/* NULL if there is none of that name. */
const struct export_format *export_format_find(const char *name);
