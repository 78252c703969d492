/* wg(8) itself is the judge of how a server's configuration is read: what `wg setconf` makes of a file, wgconf_read()
 * makes of it, too, for files that are made at random out of what people write.
 *
 *     a file ---> wg setconf ---> UAPI "set" on a socket of ours ---+
 *        |                                                          +--- the same keys, prefixes, endpoints, numbers
 *        +------> wgconf_read() ------------------------------------+
 *
 * No interface is made: wg takes the socket in /var/run/wireguard for a userspace implementation's. Skipped where there
 * is no wg, or no right to make that socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/import/wgconf.h"

#define FILES 400
#define PEERS_MAX 8
#define ALLOWED_MAX 64
#define KEYS 4 /* so few that some come again */

extern char **environ;

/* --- what either of them read --- */

struct seen_peer {
    struct key public_key, preshared_key;
    char endpoint[ENDPOINT_TEXT_SIZE];
    unsigned keepalive;
    struct prefix allowed[ALLOWED_MAX]; /* sorted, each once */
    size_t allowed_count;
};

struct seen {
    struct key private_key;
    unsigned listen_port, fwmark;
    struct seen_peer peers[PEERS_MAX];
    size_t peer_count;
};

static struct seen_peer *peer_of(struct seen *s, const struct key *key) {
    for (size_t i = 0; i < s->peer_count; i++) {
        if (key_equal(&s->peers[i].public_key, key)) {
            return &s->peers[i];
        }
    }
    assert_true(s->peer_count < PEERS_MAX);
    s->peers[s->peer_count].public_key = *key;
    return &s->peers[s->peer_count++];
}

static int by_order(const void *a, const void *b) {
    return prefix_compare(a, b);
}

static void sort_once(struct seen_peer *p) {
    size_t kept = 0;
    qsort(p->allowed, p->allowed_count, sizeof *p->allowed, by_order);
    for (size_t i = 0; i < p->allowed_count; i++) {
        if (!kept || !prefix_equal(&p->allowed[kept - 1], &p->allowed[i])) {
            p->allowed[kept++] = p->allowed[i];
        }
    }
    p->allowed_count = kept;
}

/* The UAPI's "set", of which only a daemon's side is played here. */
static void see_uapi(char *text, struct seen *s) {
    struct seen_peer *peer = NULL;
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, '=');
        struct key key;
        assert_non_null(value);
        *value++ = '\0';
        if (strcmp(line, "private_key") == 0) {
            assert_int_equal(key_from_hex(value, &s->private_key), 0);
        } else if (strcmp(line, "listen_port") == 0) {
            s->listen_port = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(line, "fwmark") == 0) {
            s->fwmark = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(line, "public_key") == 0) {
            assert_int_equal(key_from_hex(value, &key), 0);
            peer = peer_of(s, &key);
        } else if (strcmp(line, "preshared_key") == 0) {
            assert_int_equal(key_from_hex(value, &peer->preshared_key), 0);
        } else if (strcmp(line, "endpoint") == 0) {
            snprintf(peer->endpoint, sizeof peer->endpoint, "%s", value);
        } else if (strcmp(line, "persistent_keepalive_interval") == 0) {
            peer->keepalive = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(line, "replace_allowed_ips") == 0) {
            peer->allowed_count = 0;
        } else if (strcmp(line, "allowed_ip") == 0) {
            assert_int_equal(prefix_parse(value, &peer->allowed[peer->allowed_count++], NULL), 0);
        }
    }
    for (size_t i = 0; i < s->peer_count; i++) {
        sort_once(&s->peers[i]);
    }
}

static void see_ours(const struct wgconf *conf, struct seen *s) {
    s->private_key = conf->private_key;
    s->listen_port = conf->listen_port;
    s->fwmark = conf->fwmark.mark;
    for (size_t i = 0; i < conf->peer_count; i++) {
        const struct wgconf_peer *from = &conf->peers[i];
        struct seen_peer *to = peer_of(s, &from->public_key);
        to->preshared_key = from->preshared_key;
        endpoint_format(&from->endpoint, to->endpoint);
        to->keepalive = from->keepalive;
        to->allowed_count = from->allowed_count;
        assert_true(from->allowed_count <= ALLOWED_MAX);
        if (from->allowed_count) {
            memcpy(to->allowed, from->allowed, from->allowed_count * sizeof *from->allowed);
        }
        sort_once(to);
    }
}

static bool is_same(struct seen *a, struct seen *b) {
    bool same = key_equal(&a->private_key, &b->private_key) && a->listen_port == b->listen_port &&
                a->fwmark == b->fwmark && a->peer_count == b->peer_count;
    for (size_t i = 0; same && i < a->peer_count; i++) {
        const struct seen_peer *p = &a->peers[i], *q = peer_of(b, &p->public_key);
        same = key_equal(&p->preshared_key, &q->preshared_key) && strcmp(p->endpoint, q->endpoint) == 0 &&
               p->keepalive == q->keepalive && p->allowed_count == q->allowed_count;
        for (size_t j = 0; same && j < p->allowed_count; j++) {
            same = prefix_equal(&p->allowed[j], &q->allowed[j]);
        }
    }
    return same;
}

/* --- the judge --- */

struct judge {
    char name[16], path[64];
    int listener;
};

static int judge_open(void **state) {
    static struct judge judge;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(judge.name, sizeof judge.name, "spj%d", (int)getpid());
    snprintf(judge.path, sizeof judge.path, "/var/run/wireguard/%s.sock", judge.name);
    memcpy(address.sun_path, judge.path, strlen(judge.path) + 1);
    judge.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (access("/usr/bin/wg", X_OK) < 0 || (mkdir("/var/run/wireguard", 0700) < 0 && errno != EEXIST) ||
        bind(judge.listener, (const struct sockaddr *)&address, sizeof address) < 0 || listen(judge.listener, 4) < 0) {
        close(judge.listener);
        *state = NULL;
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    *state = &judge;
    return 0;
}

static int judge_close(void **state) {
    const struct judge *judge = *state;
    if (judge) {
        close(judge->listener);
        unlink(judge->path);
    }
    return 0;
}

/* Answers one request, if it is a "set". wg also connects to see whether anybody is there. */
static void serve(const struct judge *judge, char *request, size_t room) {
    size_t size = 0;
    int fd = accept4(judge->listener, NULL, NULL, SOCK_CLOEXEC);
    for (ssize_t n; fd >= 0 && size + 1 < room && (n = read(fd, request + size, room - size - 1)) > 0;) {
        size += (size_t)n;
        request[size] = '\0';
        if (size >= 2 && strcmp(request + size - 2, "\n\n") == 0) {
            (void)!write(fd, "errno=0\n\n", 9);
            break;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Whether it takes the file; then what it read. */
static bool judge_takes(const struct judge *judge, const struct buf *text, struct seen *ret_seen) {
    static char request[65536];
    char file[64];
    int fd = memfd_create("wg0.conf", 0), status;
    posix_spawn_file_actions_t actions;
    pid_t pid;
    snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
    assert_int_equal(write(fd, text->data, text->size), (ssize_t)text->size);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    char *argv[] = {(char[]){"wg"}, (char[]){"setconf"}, (char *)(uintptr_t)judge->name, file, NULL};
    char *environment[] = {(char[]){"WG_ENDPOINT_RESOLUTION_RETRIES=0"}, NULL};
    assert_int_equal(posix_spawn(&pid, "/usr/bin/wg", &actions, NULL, argv, environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    request[0] = '\0';
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd ready = {.fd = judge->listener, .events = POLLIN};
        if (poll(&ready, 1, 1) > 0) {
            serve(judge, request, sizeof request);
        }
    }
    close(fd);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return false;
    }
    assert_true(strncmp(request, "set=1\n", 6) == 0);
    see_uapi(request, ret_seen);
    return true;
}

/* --- files at random --- */

static uint64_t seed;

static unsigned pick(unsigned count) {
    seed ^= seed << 13; /* xorshift: the same files each time */
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % count;
}

#define ONE_OF(list) ((list)[pick(sizeof(list) / sizeof *(list))])

static void put_blanks(struct buf *out) {
    static const char *const blanks[] = {"", "", " ", "  ", "\t", "\v", " \f"};
    buf_text(out, ONE_OF(blanks));
}

/* The word with its letters in any case and, now and then, blanks in it. */
static void put_word(struct buf *out, const char *word, bool any_case) {
    bool wild = pick(4) == 0, gaps = pick(6) == 0;
    for (; *word; word++) {
        unsigned char c = (unsigned char)*word;
        char letter = (char)(any_case && wild ? (pick(2) ? toupper(c) : tolower(c)) : c);
        buf_append(out, &letter, 1);
        if (gaps && pick(5) == 0) {
            buf_text(out, ONE_OF(((const char *const[]){" ", "\t", "  "})));
        }
    }
}

static void put_end(struct buf *out) {
    static const char *const comments[] = {"# x", "#", " # PublicKey = x", "#[Peer]", " ## y = z"};
    if (pick(6) == 0) {
        buf_text(out, ONE_OF(comments));
    }
    buf_text(out, pick(5) ? "\n" : "\r\n");
    if (pick(12) == 0) {
        buf_text(out, ONE_OF(((const char *const[]){"\n", " \t\n", "# words\n", "\r\n", "#\n"})));
    }
}

static void put_setting(struct buf *out, const char *name, const char *value, bool any_case) {
    put_blanks(out);
    put_word(out, name, true);
    put_blanks(out);
    buf_text(out, "=");
    put_blanks(out);
    put_word(out, value, any_case);
    put_blanks(out);
    put_end(out);
}

static void put_key(struct buf *out, const char *name) {
    struct key key = {{7, 1, 9}};
    char text[KEY_BASE64_SIZE];
    key.bytes[31] = (uint8_t)pick(KEYS);
    put_setting(out, name, key_to_base64(&key, text), false);
}

static void put_allowed(struct buf *out) {
    static const char *const prefixes[] = {"10.8.0.2/32",    "10.8.0.2",       "10.8.0.3/32", "192.168.1.7/24",
                                           "192.168.0.0/16", "192.168.1.0/24", "0.0.0.0/0",   "::/0",
                                           "fd00::2/128",    "FD00::A",        "fd00::7/64",  "10.0.0.1/08",
                                           "::ffff:1.2.3.4", "10.0.0.1/33",    "10.0.0.01",   "10.1",
                                           "10.8.0.2/",      "fd00::1/129",    "1.2.3.4/0",   "+10.8.0.9/32"};
    struct buf list = {0};
    for (unsigned n = 1 + pick(4); n > 0; n--) {
        /* mostly what is right: else hardly a file would be */
        buf_printf(&list, "%s%s", prefixes[pick(pick(12) ? 13 : sizeof prefixes / sizeof *prefixes)], n > 1 ? "," : "");
    }
    if (pick(40) == 0) {
        buf_text(&list, ",");
    }
    put_setting(out, "AllowedIPs", list.data, false);
    buf_free(&list);
}

static void put_interface(struct buf *out) {
    static const char *const ports[] = {"51820", "0", "065535", "1"};
    static const char *const marks[] = {"off",        "0",   "0xca6c", "51820", "010",
                                        "0xffffffff", "OFF", "0x",     "-1",    "4294967296"};
    put_blanks(out);
    put_word(out, "[Interface]", true);
    put_end(out);
    for (unsigned n = pick(5); n > 0; n--) {
        switch (pick(3)) {
        case 0:
            put_key(out, "PrivateKey");
            break;
        case 1:
            put_setting(out, "ListenPort", ONE_OF(ports), false);
            break;
        default:
            put_setting(out, "FwMark", marks[pick(pick(8) ? 7 : sizeof marks / sizeof *marks)], false);
        }
    }
}

static void put_peer(struct buf *out) {
    static const char *const endpoints[] = {
        "192.0.2.1:51820", "[2001:db8::1]:51820", "2001:db8::1:443", "[192.0.2.1]:1",
        "192.0.2.1:05",    "192.0.2.1",           "[2001:db8::1]",   ":51820"};
    static const char *const keepalives[] = {"off", "0", "25", "65535", "OFF", "025", "65536", "0x19", "-1"};
    put_blanks(out);
    put_word(out, "[Peer]", true);
    put_end(out);
    if (pick(30)) {
        put_key(out, "PublicKey");
    }
    for (unsigned n = pick(5); n > 0; n--) {
        switch (pick(5)) {
        case 0:
            put_key(out, "PresharedKey");
            break;
        case 1:
            put_setting(out, "Endpoint", endpoints[pick(pick(8) ? 5 : sizeof endpoints / sizeof *endpoints)], true);
            break;
        case 2:
            put_setting(out, "PersistentKeepalive",
                        keepalives[pick(pick(8) ? 6 : sizeof keepalives / sizeof *keepalives)], false);
            break;
        default:
            put_allowed(out);
        }
    }
}

static void put_slip(struct buf *out) {
    static const char *const slips[] = {
        "PublicKey =\n", "AllowedIPs\n",           "[Pear]\n",     "Foo = 1\n", "= 5\n",
        "; a comment\n", "ListenPort = x\n",       "[Peer] x\n",   "[Peer\n",   "AllowedIPs = \n",
        "Endpoint =\n",  "ListenPort 51820\n",     "[Interface\n", "x\n",       "PrivateKey==\n",
        "\xc2\xa0\n",    "Public\xc2\xa0Key = x\n"};
    buf_text(out, ONE_OF(slips));
}

static void make_file(struct buf *out) {
    for (unsigned n = 1 + pick(5); n > 0; n--) {
        if (pick(3)) {
            put_peer(out);
        } else {
            put_interface(out);
        }
        if (pick(25) == 0) {
            put_slip(out);
        }
    }
    if (pick(3) == 0) { /* no newline at the end */
        while (out->size && isspace((unsigned char)out->data[out->size - 1])) {
            out->data[--out->size] = '\0';
        }
    }
}

/* What is read here although wg refuses it: each is noted. */
static bool is_lenient(const struct wgconf *conf) {
    return conf->notes[WGCONF_EMPTY].count || conf->notes[WGCONF_COMMAS].count || conf->notes[WGCONF_PLUS].count;
}

static int read_ours(const struct buf *text, struct wgconf **ret_conf, struct buf *fault) {
    FILE *file = fmemopen(text->data, text->size, "r");
    assert_non_null(file);
    int error = wgconf_read(file, ret_conf, fault);
    fclose(file);
    return error;
}

static void files_are_read_as_wg_reads_them(void **state) {
    const struct judge *judge = *state;
    unsigned taken = 0, refused = 0;
    if (!judge) {
        skip();
    }
    seed = 20261201;
    for (unsigned i = 0; i < FILES; i++) {
        static struct seen theirs, ours;
        struct buf text = {0}, fault = {0};
        struct wgconf *conf = NULL;
        memset(&theirs, 0, sizeof theirs);
        memset(&ours, 0, sizeof ours);
        make_file(&text);
        bool takes = judge_takes(judge, &text, &theirs);
        int error = read_ours(&text, &conf, &fault);
        if (error == 0) {
            see_ours(conf, &ours);
        }
        if (takes && (error < 0 || !is_same(&theirs, &ours))) {
            fail_msg("file %u, wg takes it, we %s %s:\n%s", i, error < 0 ? "do not:" : "read something else",
                     fault.data ? fault.data : "", text.data);
        }
        if (!takes && error == 0 && !is_lenient(conf)) {
            fail_msg("file %u, wg refuses it, and we say nothing:\n%s", i, text.data);
        }
        taken += takes;
        refused += !takes;
        wgconf_free(conf);
        buf_free(&text);
        buf_free(&fault);
    }
    assert_true(taken > FILES / 4 && refused > FILES / 20); /* the files are neither all right nor all wrong */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_read_as_wg_reads_them, judge_open, judge_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
