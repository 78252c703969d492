#include "daemon/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

#define PATH_SIZE 600
#define TEXT_MAX (1u << 20)

static int refuse(struct problem *p, int error, const char *what, const char *path) {
    problem_set(p, PROBLEM_UNAVAILABLE, "cannot-open", "", "%s %s: %s", what, path, strerror(-error));
    return error;
}

/* mkdir -p: parents as usual, the folder itself for us alone. */
static int folder_make(const char *path) {
    char part[PATH_SIZE];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) == 0) {
            (void)chmod(part, 0755); /* whatever the umask: others may have business beside us */
        } else if (errno != EEXIST) {
            return -errno;
        }
        *slash = '/';
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int secret_claim_folder(const char *path, struct problem *ret_problem) {
    char lock[PATH_SIZE];
    int error = folder_make(path);
    if (error < 0) {
        return refuse(ret_problem, error, "cannot make the state folder", path);
    }
    struct stat st;
    if (stat(path, &st) < 0) {
        return refuse(ret_problem, -errno, "cannot look at the state folder", path);
    }
    if (st.st_mode & S_IWOTH) {
        problem_set(ret_problem, PROBLEM_INVALID, "unsafe-folder", "",
                    "the state folder %s can be written by everybody; run: chmod 0700 %s", path, path);
        return -EPERM;
    }
    snprintf(lock, sizeof lock, "%s/sallyportd.lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return refuse(ret_problem, -errno, "cannot open", lock);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        error = errno == EWOULDBLOCK ? -EBUSY : -errno;
        close(fd);
        if (error == -EBUSY) {
            problem_set(
                ret_problem, PROBLEM_CONFLICT, "already-running", "",
                "Another sallyportd works on %s. Stop it first, or give this one a [daemon] state_dir of its own.",
                path);
            return error;
        }
        return refuse(ret_problem, error, "cannot lock", lock);
    }
    return 0; /* the descriptor stays open for as long as the process lives */
}

/* Reads at most `room` - 1 bytes. 0, -EFBIG, or -errno. */
static int read_all(int fd, char *text, size_t room, size_t *ret_size) {
    size_t size = 0;
    for (;;) {
        ssize_t n = read(fd, text + size, room - size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        size += (size_t)n;
        if (size == room) {
            return -EFBIG;
        }
    }
    text[size] = '\0';
    *ret_size = size;
    return 0;
}

static int key_load(int fd, const char *path, struct key *ret_key, struct problem *p) {
    struct stat st;
    char text[128];
    size_t size = 0;
    if (fstat(fd, &st) < 0) {
        return refuse(p, -errno, "cannot look at", path);
    }
    /* systemd gives a service that is not root its credentials by an access list, which shows as the group's right. */
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    bool credential = credentials && strncmp(path, credentials, strlen(credentials)) == 0;
    mode_t others = credential ? 0037 : 0077;
    if (!S_ISREG(st.st_mode) || (st.st_mode & others) || (st.st_uid != 0 && st.st_uid != geteuid())) {
        problem_set(p, PROBLEM_INVALID, "unsafe-key-file", "",
                    "the private key file %s can be read by others than its owner (mode %04o, uid %u); run: "
                    "chown root: %s && chmod 0600 %s",
                    path, (unsigned)st.st_mode & 07777, (unsigned)st.st_uid, path, path);
        return -EPERM;
    }
    int error = read_all(fd, text, sizeof text, &size);
    if (error == 0) {
        size_t end = strcspn(text, "\r\n");
        bool rest = text[end + strspn(text + end, "\r\n")] != '\0';
        text[end] = '\0';
        error = rest || key_from_base64(text, ret_key) < 0 || key_is_zero(ret_key) ? -EINVAL : 0;
    }
    sodium_memzero(text, sizeof text);
    if (error < 0) {
        problem_set(p, PROBLEM_INVALID, "bad-key-file", "",
                    "%s does not hold a WireGuard private key (one line of base64, as `wg genkey` prints). Restore it "
                    "from a backup: with another key, no router could connect any more",
                    path);
        return -EINVAL;
    }
    return 0;
}

static int key_make(const char *path, struct key *ret_key, struct problem *p) {
    char text[KEY_BASE64_SIZE];
    struct key key;
    key_make_private(&key);
    key_to_base64(&key, text);
    text[KEY_BASE64_SIZE - 1] = '\n';
    int error = file_create(path, 0600, text, KEY_BASE64_SIZE);
    sodium_memzero(text, sizeof text);
    if (error == 0) {
        *ret_key = key;
    }
    sodium_memzero(&key, sizeof key);
    return error < 0 ? refuse(p, error, "cannot make the private key file", path) : 0;
}

int secret_read_key(const char *path, bool may_make, bool *ret_made, struct key *ret_private_key,
                    struct problem *ret_problem) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && !may_make) {
        problem_set(
            ret_problem, PROBLEM_INVALID, "lost-key", "",
            "the private key file %s is missing, but there is a database already. Restore the key from a backup: "
            "with another key, no router could connect any more. To start anew with a new key all the same, "
            "make one: (umask 077; wg genkey >%s)",
            path, path);
        return -ENOENT;
    }
    if (fd < 0 && errno == ENOENT) {
        int error = key_make(path, ret_private_key, ret_problem);
        if (error == 0) {
            *ret_made = true;
        }
        return error;
    }
    if (fd < 0) {
        return refuse(ret_problem, -errno, "cannot open the private key file", path);
    }
    int error = key_load(fd, path, ret_private_key, ret_problem);
    close(fd);
    if (error == 0) {
        *ret_made = false;
    }
    return error;
}

static int identity_make(const char *path, char text[UUID_TEXT_SIZE + 1], struct problem *p) {
    struct uuid made;
    uuid_make((uint64_t)clock_wall_us() / 1000, &made);
    uuid_format(&made, text);
    int error = file_create(path, 0600, text, UUID_TEXT_SIZE - 1);
    return error < 0 ? refuse(p, error, "cannot make", path) : 0;
}

int secret_read_identity(const char *folder, struct uuid *ret_identity, struct problem *ret_problem) {
    char path[PATH_SIZE], text[64] = "", machine[64] = "";
    uint8_t hash[sizeof ret_identity->bytes];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/gateway.id", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int error = fd < 0 ? -errno : read_all(fd, text, sizeof text, &size);
    if (fd >= 0) {
        close(fd);
    }
    error = error == -ENOENT ? identity_make(path, text, ret_problem) : error;
    text[strcspn(text, "\r\n")] = '\0';
    if (error == 0 && uuid_parse(text, &(struct uuid){0}) < 0) {
        (void)problem_set(ret_problem, PROBLEM_INVALID, "bad-identity", "",
                          "%s does not hold a UUID. Remove it; a new one is made", path);
        return -EINVAL;
    }
    if (error < 0) {
        return refuse(ret_problem, error, "cannot read", path);
    }
    fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)read_all(fd, machine, sizeof machine, &size);
        close(fd);
    }
    crypto_generichash(hash, sizeof hash, (const uint8_t *)machine, strlen(machine), (const uint8_t *)text,
                       strlen(text));
    memcpy(ret_identity->bytes, hash, sizeof hash);
    return 0;
}

int secret_read_text(const char *path, char **ret_text, struct problem *ret_problem) {
    size_t size = 0;
    char *text = malloc(TEXT_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = !text ? -ENOMEM : fd < 0 ? -errno : read_all(fd, text, TEXT_MAX, &size);
    if (fd >= 0) {
        close(fd);
    }
    if (error < 0) {
        free(text);
        return refuse(ret_problem, error, "cannot read", path);
    }
    *ret_text = text;
    return 0;
}
