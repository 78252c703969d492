#include "daemon/choice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A problem's first sentence says what is, the others what to do: here it is done already. */
static void because(struct choice *choice, const struct problem *problem) {
    const char *end = strstr(problem->detail, ". ");
    int size = end ? (int)(end - problem->detail) : (int)strcspn(problem->detail, "\n");
    snprintf(choice->why, sizeof choice->why, "chosen automatically: %.*s", size, problem->detail);
}

void choice_fall_back(struct choice *choice, const struct problem *problem) {
    choice->backend = &backend_engine;
    choice->automatic = false;
    because(choice, problem);
}

static void choose(const char *interface_name, struct choice *choice) {
    struct problem why_not = {0};
    int rc = backend_kernel_usable(interface_name, &why_not);
    bool at_work = rc < 0 && rc != -EEXIST && backend_kernel_is_at_work(interface_name);
    if (rc < 0 && rc != -EEXIST && !at_work) {
        choice_fall_back(choice, &why_not);
        return;
    }
    choice->backend = &backend_kernel;
    choice->automatic = true;
    if (at_work) {
        /* It may be a passing failure, or this process's rights: routers go on meanwhile, and status says why. */
        snprintf(choice->why, sizeof choice->why,
                 "chosen automatically: the kernel's data plane of an earlier run is at work");
        return;
    }
    /* With -EEXIST no backend can have the name; the kernel's says what to do about it. */
    snprintf(choice->why, sizeof choice->why,
             "chosen automatically: this kernel has WireGuard and eBPF, and no tenant has private addressing");
}

void choice_make(enum config_backend kind, const char *interface_name, struct choice *ret_choice) {
    *ret_choice = (struct choice){.backend = &backend_engine, .why = "as configured"};
    switch (kind) {
    case CONFIG_BACKEND_AUTO:
        choose(interface_name, ret_choice);
        break;
    case CONFIG_BACKEND_ENGINE:
        break;
    case CONFIG_BACKEND_KERNEL:
        ret_choice->backend = &backend_kernel;
        break;
    }
}
