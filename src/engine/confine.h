/* What the process may still do once it runs: it reads strangers' bytes, so whoever takes it over shall find little.
 *
 * What was opened stays open; no privilege is needed for it any more but those of enum confine_keep. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct confine {
    bool as_user; /* become this one; else stay who we are */
    uid_t uid;
    gid_t gid;
    bool xdp; /* AF_XDP is in use: it goes on asking the kernel about its program */
};

/* The user of this name (numbers work too). 0, -ENOENT, -errno. */
int confine_find_user(const char *name, struct confine *ret_confine);
/* Before there are other threads, which inherit it, and after all is opened that takes more: gives up root where a user
 * is named, and in any case all capabilities but CAP_NET_ADMIN, CAP_NET_BIND_SERVICE (and CAP_BPF for AF_XDP), also
 * those that a program could bring along. 0, or -errno. */
int confine_privileges(const struct confine *confine);
/* All threads, once they all run: no new program, process or file, no look into another process, no mount, module, BPF
 * program, clock. What is refused answers EPERM. A sanitizer's build keeps what its reports need. 0, or -errno. */
int confine_system_calls(const struct confine *confine);
