#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno != EINTR) {
            return -errno;
        }
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return 0;
}

/* Makes `passing`, a template of mkostemp(3), into the name of a file with these bytes on the disk. */
static int write_passing(char *passing, mode_t mode, const void *bytes, size_t size) {
    int fd = mkostemp(passing, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = write_all(fd, bytes, size);
    if (!error && (fchmod(fd, mode) < 0 || fsync(fd) < 0)) {
        error = -errno;
    }
    if (close(fd) < 0 && !error) {
        error = -errno;
    }
    if (error) {
        unlink(passing);
    }
    return error;
}

/* Without this, a power cut can take away the new name. What the folder's file system cannot do is not missed. */
static void sync_folder(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) + 1 : 0;
    if (size >= sizeof folder) {
        return;
    }
    memcpy(folder, path, size);
    folder[size] = '\0';
    int fd = open(size ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

static int passing_name(const char *path, char passing[PATH_MAX]) {
    int size = snprintf(passing, PATH_MAX, "%s.XXXXXX", path);
    return size < 0 || size >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int file_create(const char *path, mode_t mode, const void *bytes, size_t size) {
    char passing[PATH_MAX];
    int error = passing_name(path, passing);
    error = error ? error : write_passing(passing, mode, bytes, size);
    if (error) {
        return error;
    }
    error = link(passing, path) < 0 ? -errno : 0;
    unlink(passing);
    if (!error) {
        sync_folder(path);
    }
    return error;
}

int file_replace(const char *path, mode_t mode, const void *bytes, size_t size) {
    char passing[PATH_MAX];
    int error = passing_name(path, passing);
    error = error ? error : write_passing(passing, mode, bytes, size);
    if (error) {
        return error;
    }
    if (rename(passing, path) < 0) {
        error = -errno;
        unlink(passing);
        return error;
    }
    sync_folder(path);
    return 0;
}
