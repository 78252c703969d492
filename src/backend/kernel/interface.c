/* The interface as everybody in this folder must treat it: gone, refused by the kernel, marked, undone. */
#include <errno.h>
#include <string.h>

#include "backend/host/fence.h"
#include "backend/host/mark.h"
#include "backend/host/sentinel.h"
#include "backend/isolate/isolate.h"
#include "backend/kernel/kernel.h"
#include "bpf/isolate.h"

int kernel_away(struct kernel *k, struct problem *ret_problem) {
    k->up = false;
    problem_set(ret_problem, PROBLEM_UNAVAILABLE, "interface-gone", "",
                "The interface %s is not there any more. It is made again, with all that belongs on it.",
                k->interface_name);
    return -ENOTCONN;
}

int kernel_fault(struct kernel *k, int error, const char *what, struct problem *ret_problem) {
    if (error == -EPERM || error == -EACCES) {
        problem_set(ret_problem, PROBLEM_UNAVAILABLE, "not-privileged", "",
                    "May not %s %s: %s. Run as root, or with CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON.", what,
                    k->interface_name, strerror(-error));
    } else {
        problem_set(ret_problem, PROBLEM_UNAVAILABLE, "kernel-refused", "", "The kernel would not %s %s: %s.", what,
                    k->interface_name, strerror(-error));
    }
    return error;
}

int kernel_refused(struct kernel *k, int error, const char *what, struct problem *ret_problem) {
    return error == -ENODEV || error == -EOPNOTSUPP ? kernel_away(k, ret_problem)
                                                    : kernel_fault(k, error, what, ret_problem);
}

int kernel_mend_mark(struct kernel *k, unsigned *touched) {
    struct link_state state = {0};
    int rc = link_look(k->interface_name, &state);
    if (rc == 0 && state.index != k->ifindex) {
        rc = -ENODEV;
    }
    if (rc == 0 && !mark_is_ours(&state)) {
        rc = mark_set(k->interface_name, k->generation);
        ++*touched;
    }
    return rc;
}

int kernel_set_fence(struct kernel *k, uint16_t listen_port, bool egress, unsigned *touched,
                     struct problem *ret_problem) {
    const struct fence_rules rules = {
        .passed = ISOLATE_PASSED,
        .hub = k->pools,
        .hub_count = k->pool_count,
        .listen_port = listen_port,
        .egress = egress || isolate_has_egress(k->isolate),
    };
    int rc = fence_set(k->fence, &rules, touched, ret_problem);
    if (rc == 0) {
        k->masquerades = rules.egress;
    }
    return rc;
}

/* Everything that was set went with the former interface. */
void kernel_forget(struct kernel *k) {
    kernel_peers_free(&k->peers);
    k->napi_calm = k->compared = false;
    k->patrol_at_ns = 0;
}

void kernel_undo(struct kernel *k) {
    struct problem problem;
    link_delete(k->interface_name);
    if (!k->proven) {
        /* Not even an earlier run needs them: the interface was not there. */
        (void)fence_remove(k->fence, &problem);
        isolate_destroy(k->isolate);
        k->isolate = NULL;
    }
    kernel_forget(k);
    sentinel_watch(k->sentinel, 0);
    k->up = k->fresh = false;
}
