#include "engine/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define CAPABILITIES_MAX 63

int confine_find_user(const char *name, struct confine *ret_confine) {
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (!user) {
        char *end;
        unsigned long number = strtoul(name, &end, 10);
        user = *name && !*end && number <= UINT32_MAX - 1 ? getpwuid((uid_t)number) : NULL;
    }
    if (!user) {
        return errno ? -errno : -ENOENT;
    }
    ret_confine->as_user = true;
    ret_confine->uid = user->pw_uid;
    ret_confine->gid = user->pw_gid;
    return 0;
}

/* --- capabilities --- */

static int capabilities_get(struct __user_cap_data_struct data[2]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int capabilities_set(const struct __user_cap_data_struct data[2]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static uint64_t wanted(const struct confine *confine) {
    uint64_t all = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_BIND_SERVICE;
    all |= SANITIZED ? UINT64_C(1) << CAP_SYS_PTRACE : 0;
    return confine->xdp ? all | UINT64_C(1) << CAP_BPF : all;
}

/* Of those that it has, it keeps those that are wanted. */
static int keep(uint64_t wanted_ones) {
    struct __user_cap_data_struct data[2] = {0};
    int error = capabilities_get(data);
    for (int i = 0; i < 2; i++) {
        data[i].permitted &= (uint32_t)(wanted_ones >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return error ? error : capabilities_set(data);
}

/* Needs CAP_SETPCAP: whoever has not got it can bring nothing along but by a program, and there will be none. */
static void empty_bounds(uint64_t wanted_ones) {
    for (unsigned long i = 0; i <= CAPABILITIES_MAX; i++) {
        if (!(wanted_ones >> i & 1)) {
            (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
        }
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static int become(const struct confine *confine) {
    if (setgroups(0, NULL) < 0 || setresgid(confine->gid, confine->gid, confine->gid) < 0 ||
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresuid(confine->uid, confine->uid, confine->uid) < 0) {
        return -errno;
    }
    return 0;
}

int confine_privileges(const struct confine *confine) {
    uint64_t ones = wanted(confine);
    empty_bounds(ones);
    int error = confine->as_user ? become(confine) : 0;
    error = error ? error : keep(ones);
    if (!error && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        error = -errno;
    }
    /* another user's process can be looked at again, until this is said again */
    if (!error && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
        error = -errno;
    }
    return error;
}

/* --- system calls --- */

/* Names, because not every machine has all of them. */
static const char *const refused[] = {
    /* another process, or what it holds */
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    "perf_event_open",
    "userfaultfd",
    /* mounts and namespaces */
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "setns",
    "unshare",
    "quotactl",
    "quotactl_fd",
    "swapon",
    "swapoff",
    /* the kernel */
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "syslog",
    "acct",
    "iopl",
    "ioperm",
    "lookup_dcookie",
    "fanotify_init",
    "name_to_handle_at",
    "open_by_handle_at",
    "nfsservctl",
    "_sysctl",
    "uselib",
    "vhangup",
    "modify_ldt",
    "personality",
    /* keys, clocks, names */
    "add_key",
    "request_key",
    "keyctl",
    "settimeofday",
    "clock_settime",
    "clock_settime64",
    "clock_adjtime",
    "clock_adjtime64",
    "adjtimex",
    "stime",
    "sethostname",
    "setdomainname",
    /* files */
    "mknod",
    "mknodat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmodat",
    "chown",
    "lchown",
    "fchownat",
    "truncate",
    "setxattr",
    "lsetxattr",
    "memfd_create",
    "memfd_secret",
    /* users */
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
    "capset",
};

/* What a sanitizer needs for its reports: its stack traces come from files, its leaks from a process that looks at
 * ours, for which it also keeps CAP_SYS_PTRACE. */
static const char *const refused_unless_sanitized[] = {
    "ptrace", "execve", "execveat", "fork", "vfork", "open", "openat", "openat2", "creat", "io_uring_setup",
};

static int refuse(scmp_filter_ctx filter, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number == __NR_SCMP_ERROR) {
            continue; /* a call that this machine or this library does not know */
        }
        int error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
        if (error && error != -EEXIST) {
            return error;
        }
    }
    return 0;
}

/* Threads may still be made: flags of clone() say so. Those of clone3() lie in memory, where a filter cannot look; libc
 * then takes clone(). */
static int refuse_processes(scmp_filter_ctx filter) {
    int error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return error ? error : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int fill(scmp_filter_ctx filter, const struct confine *confine) {
    int error = refuse(filter, refused, COUNT(refused));
    if (!error && !SANITIZED) {
        error = refuse(filter, refused_unless_sanitized, COUNT(refused_unless_sanitized));
        error = error ? error : refuse_processes(filter);
    }
    if (!error && !confine->xdp) {
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(bpf), 0);
    }
    return error;
}

int confine_system_calls(const struct confine *confine) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter) {
        return -ENOMEM;
    }
    int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    error = error ? error : fill(filter, confine);
    error = error ? error : seccomp_load(filter);
    seccomp_release(filter);
    return error;
}
