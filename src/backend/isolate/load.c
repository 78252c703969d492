#include "backend/isolate/load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bpf/isolate.h"
#include "isolate.skel.h"
#include "model/problem.h"

#define BPF_FOLDER "/sys/fs/bpf"
#define OUR_FOLDER BPF_FOLDER "/sallyport"
#define STRINGIFY(x) #x
#define NUMBER_TEXT(x) STRINGIFY(x)
#define LAYOUT_NAME "layout" NUMBER_TEXT(ISOLATE_LAYOUT)
#define CPUS_MAX 8192 /* of any kernel */

static const char *const map_names[ISOLATE_MAP_COUNT] = {
    [ISOLATE_MAP_HOSTS_NOW] = "hosts_now", [ISOLATE_MAP_LANS] = "lans",       [ISOLATE_MAP_ACCOUNTS] = "accounts",
    [ISOLATE_MAP_TENANTS] = "tenants",     [ISOLATE_MAP_TALLIES] = "tallies", [ISOLATE_MAP_HUB] = "hub",
};

/* libbpf reports through a callback without a context. */
static char said[192];

static int listen_to_libbpf(enum libbpf_print_level level, const char *format, va_list args) {
    if (level == LIBBPF_WARN && !said[0]) {
        vsnprintf(said, sizeof said, format, args);
        said[strcspn(said, "\n")] = '\0';
    }
    return 0;
}

const char *isolate_load_said(void) {
    return said;
}

void isolate_load_listen(void) {
    said[0] = '\0';
    libbpf_set_print(listen_to_libbpf);
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

/* --- problems --- */

static int report_load(struct problem *problem, int error) {
    if (error == -EPERM || error == -EACCES) {
        problem_set(problem, PROBLEM_UNAVAILABLE, "no-bpf", "",
                    "The isolation program could not be loaded: %s (%s). Run sallyportd as root, or with CAP_BPF, "
                    "CAP_PERFMON and CAP_NET_ADMIN.",
                    strerror(-error), said[0] ? said : "the kernel gave no reason");
    } else {
        problem_set(
            problem, PROBLEM_UNAVAILABLE, "no-bpf", "",
            "This kernel did not take the isolation program: %s (%s). It needs Linux 5.15 with CONFIG_BPF_SYSCALL "
            "and CONFIG_NET_CLS_BPF; backend = engine works without.",
            strerror(-error), said[0] ? said : "it gave no reason");
    }
    return error;
}

static int check_folder(struct problem *problem) {
    struct statfs fs;
    if (statfs(BPF_FOLDER, &fs) == 0 && (uint32_t)fs.f_type == BPF_FS_MAGIC) {
        return 0;
    }
    problem_set(problem, PROBLEM_UNAVAILABLE, "no-bpf", "",
                "No BPF file system is mounted at " BPF_FOLDER ", where the isolation program must outlive sallyportd. "
                "Run: mount -t bpf bpf " BPF_FOLDER);
    return -ENOTDIR;
}

/* --- folders --- */

static void folder_empty(int parent, const char *name) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        close_fd(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] != '.') {
            unlinkat(fd, entry->d_name, 0);
        }
    }
    closedir(folder);
    unlinkat(parent, name, AT_REMOVEDIR);
}

/* All layouts but `keep` (may be NULL). */
static void layouts_remove(const struct isolate_load *load, const char *keep) {
    int parent = openat(load->folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int listed = parent >= 0 ? dup(parent) : -1;
    DIR *folder = listed >= 0 ? fdopendir(listed) : NULL;
    if (folder) {
        for (struct dirent *entry; (entry = readdir(folder));) {
            if (entry->d_name[0] != '.' && !(keep && strcmp(entry->d_name, keep) == 0)) {
                folder_empty(parent, entry->d_name);
            }
        }
        closedir(folder);
    } else {
        close_fd(&listed);
    }
    close_fd(&parent);
}

void isolate_load_retire(const struct isolate_load *load) {
    layouts_remove(load, LAYOUT_NAME);
}

/* As far as they are empty. */
static void remove_folders_above(const struct isolate_load *load) {
    char above[sizeof load->path];
    snprintf(above, sizeof above, "%s", load->path);
    *strrchr(above, '/') = '\0';
    rmdir(above);
    rmdir(OUR_FOLDER);
}

void isolate_load_unpin(const struct isolate_load *load) {
    layouts_remove(load, NULL);
    remove_folders_above(load);
}

void isolate_load_undo(const struct isolate_load *load) {
    if (load->made) {
        folder_empty(AT_FDCWD, load->path);
        remove_folders_above(load);
    }
}

static int make_folder(const char *path) {
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int folder_open(struct isolate_load *load, const char *interface_name) {
    char name[20];
    snprintf(name, sizeof name, "%s", interface_name);
    for (char *c = name; *c; c++) {
        *c = *c == '.' ? ':' : *c; /* bpffs knows no dots, and no interface's name has a colon */
    }
    int error = make_folder(OUR_FOLDER);
    snprintf(load->path, sizeof load->path, "%s/%s", OUR_FOLDER, name);
    error = error ? error : make_folder(load->path);
    snprintf(load->path, sizeof load->path, "%s/%s/%s", OUR_FOLDER, name, LAYOUT_NAME);
    load->made = !error && mkdir(load->path, 0700) == 0;
    if (error || (!load->made && errno != EEXIST)) {
        return error ? error : -errno;
    }
    load->folder = open(load->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return load->folder < 0 ? -errno : 0;
}

/* --- pins --- */

static void pin_path(const struct isolate_load *load, const char *name, char path[128]) {
    snprintf(path, 128, "%s/%s", load->path, name);
}

/* Beside, then over: there is never a moment without a pin. */
int isolate_load_pin(const struct isolate_load *load, int fd, const char *name) {
    char path[128], beside[128];
    pin_path(load, name, path);
    pin_path(load, "new", beside);
    unlink(beside);
    if (bpf_obj_pin(fd, beside) < 0) {
        return -errno;
    }
    return rename(beside, path) < 0 ? -errno : 0;
}

void isolate_load_unpin_one(const struct isolate_load *load, const char *name) {
    unlinkat(load->folder, name, 0);
}

int isolate_load_pinned(const struct isolate_load *load, const char *name) {
    char path[128];
    pin_path(load, name, path);
    int fd = bpf_obj_get(path);
    return fd < 0 ? -errno : fd;
}

static int map_id(int fd, uint32_t *ret_id) {
    struct bpf_map_info info = {0};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0) {
        return -errno;
    }
    *ret_id = info.id;
    return 0;
}

int isolate_load_inner(const struct isolate_load *load, enum isolate_map outer, uint32_t number, const char *name) {
    uint32_t held, id = 0;
    if (bpf_map_lookup_elem(load->maps[outer], &number, &held) < 0) {
        return -errno;
    }
    int fd = isolate_load_pinned(load, name);
    if (fd >= 0 && map_id(fd, &id) == 0 && id == held) {
        return fd;
    }
    close_fd(&fd);
    fd = bpf_map_get_fd_by_id(held);
    return fd >= 0 ? fd : -ESTALE;
}

int isolate_load_chunk(enum isolate_map outer, uint32_t cpus) {
    bool accounts = outer == ISOLATE_MAP_ACCOUNTS;
    uint32_t size = accounts ? sizeof(struct isolate_account) : sizeof(struct isolate_tenant);
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, map_names[outer], sizeof(uint32_t), size,
                            accounts ? cpus * ISOLATE_CHUNK_SLOTS : ISOLATE_CHUNK_SLOTS, &options);
    return fd < 0 ? -errno : fd;
}

/* --- programs --- */

/* The list ends with the largest number: "0-3,8-11". */
static int count_cpus(uint32_t *ret_cpus) {
    char text[4096] = "";
    FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
    if (!file) {
        return -errno;
    }
    bool read = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    size_t end = strcspn(text, "\n"), begin = end;
    while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') {
        begin--;
    }
    unsigned long last = strtoul(text + begin, NULL, 10);
    if (!read || begin == end || last >= CPUS_MAX) {
        return -EINVAL;
    }
    *ret_cpus = (uint32_t)last + 1;
    return 0;
}

/* Whether two programs are the same instructions over the same maps. */
static bool same_program(int a, int b) {
    struct bpf_prog_info of[2] = {{0}, {0}};
    uint32_t maps[2][ISOLATE_MAP_COUNT + 4] = {{0}, {0}};
    int fds[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        uint32_t size = sizeof of[i];
        of[i].map_ids = (uintptr_t)maps[i];
        of[i].nr_map_ids = ISOLATE_MAP_COUNT + 4;
        if (bpf_obj_get_info_by_fd(fds[i], &of[i], &size) < 0) {
            return false;
        }
    }
    return memcmp(of[0].tag, of[1].tag, sizeof of[0].tag) == 0 && memcmp(maps[0], maps[1], sizeof maps[0]) == 0;
}

/* The pinned program if it is this one, so that what is attached stays; else this one, pinned. A descriptor. */
static int take_up(const struct isolate_load *load, const struct bpf_object *object, const char *name) {
    const struct bpf_program *fresh = bpf_object__find_program_by_name(object, name);
    if (!fresh) {
        return -ENOENT;
    }
    int pinned = isolate_load_pinned(load, name);
    if (pinned >= 0 && same_program(pinned, bpf_program__fd(fresh))) {
        return pinned;
    }
    close_fd(&pinned);
    int error = isolate_load_pin(load, bpf_program__fd(fresh), name);
    if (error) {
        return error;
    }
    int fd = fcntl(bpf_program__fd(fresh), F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? -errno : fd;
}

static int take_over(struct isolate_load *load, const struct bpf_object *object) {
    for (int i = 0; i < ISOLATE_MAP_COUNT; i++) {
        const struct bpf_map *map = bpf_object__find_map_by_name(object, map_names[i]);
        load->maps[i] = map ? fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3) : -1;
        if (load->maps[i] < 0) {
            return map ? -errno : -ENOENT;
        }
    }
    load->from_router = take_up(load, object, "from_router");
    if (load->from_router < 0) {
        return load->from_router;
    }
    load->to_router = take_up(load, object, "to_router");
    return load->to_router < 0 ? load->to_router : 0;
}

/* The programs must know how large the chunks are that they will find: by an example, which load needs and no one
 * after. A descriptor. */
static int show_example(const struct bpf_object *object, uint32_t cpus) {
    struct bpf_map *accounts = bpf_object__find_map_by_name(object, map_names[ISOLATE_MAP_ACCOUNTS]);
    int example = accounts ? isolate_load_chunk(ISOLATE_MAP_ACCOUNTS, cpus) : -ENOENT;
    int error = example < 0 ? example : bpf_map__set_inner_map_fd(accounts, example);
    if (error) {
        close_fd(&example);
    }
    return error ? error : example;
}

/* Without a folder nothing is pinned. */
static int load_at(const char *folder, uint32_t cpus, struct bpf_object **ret_object) {
    LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "isolate", .pin_root_path = folder);
    size_t size;
    const void *bytes = isolate_bpf__elf_bytes(&size);
    isolate_load_listen();
    struct bpf_object *object = bpf_object__open_mem(bytes, size, &options);
    if (!object) {
        return -errno;
    }
    struct bpf_map *map;
    bpf_object__for_each_map(map, object) {
        if (!folder) {
            bpf_map__set_pin_path(map, NULL);
        }
    }
    int example = show_example(object, cpus);
    int error = example < 0 ? example : bpf_object__load(object);
    close_fd(&example);
    if (error) {
        bpf_object__close(object);
        return error;
    }
    *ret_object = object;
    return 0;
}

int isolate_load_try(struct problem *ret_problem) {
    struct bpf_object *object = NULL;
    uint32_t cpus = 0;
    int error = check_folder(ret_problem);
    if (error) {
        return error;
    }
    error = count_cpus(&cpus);
    error = error ? error : load_at(NULL, cpus, &object);
    if (error) {
        return report_load(ret_problem, error);
    }
    bpf_object__close(object);
    return 0;
}

int isolate_load_open(const char *interface_name, struct isolate_load *ret_load, struct problem *ret_problem) {
    struct isolate_load load = {.from_router = -1, .to_router = -1, .folder = -1};
    struct bpf_object *object = NULL;
    for (int i = 0; i < ISOLATE_MAP_COUNT; i++) {
        load.maps[i] = -1;
    }
    int error = check_folder(ret_problem);
    if (error) {
        return error;
    }
    error = folder_open(&load, interface_name);
    if (error) {
        said[0] = '\0';
        report_load(ret_problem, error);
        goto fail;
    }
    error = count_cpus(&load.cpus);
    error = error ? error : load_at(load.path, load.cpus, &object);
    if (error) {
        report_load(ret_problem, error);
        goto fail;
    }
    error = take_over(&load, object);
    if (error) {
        problem_set(
            ret_problem, PROBLEM_UNAVAILABLE, "no-bpf", "",
            "What an earlier run pinned under %s cannot be taken up: %s. Stop sallyportd, remove that folder with "
            "all it holds, start it again.",
            load.path, strerror(-error));
        goto fail;
    }
    bpf_object__close(object);
    *ret_load = load;
    return 0;

fail:
    bpf_object__close(object);
    isolate_load_undo(&load);
    isolate_load_close(&load);
    return error;
}

void isolate_load_close(struct isolate_load *load) {
    if (load->path[0] == '\0') {
        return;
    }
    for (int i = 0; i < ISOLATE_MAP_COUNT; i++) {
        close_fd(&load->maps[i]);
    }
    close_fd(&load->from_router);
    close_fd(&load->to_router);
    close_fd(&load->folder);
}
