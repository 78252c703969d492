#include "model/router.h"

#include <errno.h>
#include <string.h>

static const char *const statuses[] = {
    [ROUTER_PENDING] = "pending",
    [ROUTER_ACTIVE] = "active",
    [ROUTER_DISABLED] = "disabled",
};

const char *router_status_name(enum router_status status) {
    return statuses[status];
}

int router_status_parse(const char *name, enum router_status *ret_status) {
    for (unsigned i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (strcmp(name, statuses[i]) == 0) {
            *ret_status = (enum router_status)i;
            return 0;
        }
    }
    return -EINVAL;
}
