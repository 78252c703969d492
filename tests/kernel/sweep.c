/* Whether src/backend/wireguard* reads what the kernel holds, whatever number of peers there is. Driven by
 * test_dump.py, in the virtual machine:
 *
 *     sweep fill INTERFACE SHAPE COUNT...   gives the interface peers until it has COUNT, reads them all and compares;
 *                                           then the next, greater COUNT. SHAPE: plain (an IPv4 and an IPv6 address
 *                                           each), varied (0 to 700 allowed IPs, some endpoints, some secrets)
 *     sweep print INTERFACE                 every peer as read: "key<TAB>prefix prefix ..."
 *     sweep churn INTERFACE COUNT SECONDS   as fill, then reads again and again while another thread adds and removes
 *                                           peers and allowed IPs: nothing of what stays may be missing
 *
 * Peers are made from their number, so what must be there needs no record. Exit status 0, or 1 and what is wrong. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/host/link.h"
#include "backend/wireguard/wireguard.h"

#define ALLOWED_MAX 800
#define GUESTS 40          /* that come and go in churn */
#define GUEST_FIRST 900000 /* their numbers */

struct shape {
    const char *name;
    size_t (*allowed_count)(unsigned number);
    bool extras; /* endpoints and preshared keys */
};

struct expected {
    const struct shape *shape;
    unsigned count;
    uint8_t *seen; /* owned: by number */
    unsigned seen_count;
    bool guests; /* others may be there too */
    const char *wrong;
};

static size_t two(unsigned number) {
    (void)number;
    return 2;
}

/* One in 64 does not fit into a piece of a dump (32 KB) together with others, one in 512 not even alone. */
static size_t some(unsigned number) {
    if (number % 512 == 200) {
        return 700;
    }
    return number % 64 == 5 ? 130 : number % 7;
}

static const struct shape shapes[] = {{"plain", two, false}, {"varied", some, true}};

static void key_of(unsigned number, struct key *ret_key) {
    for (size_t i = 0; i < KEY_SIZE; i++) {
        ret_key->bytes[i] = (uint8_t)((number * 2654435761u + i * 40503u) >> (i % 4 * 8));
    }
    memcpy(ret_key->bytes, &number, sizeof number);
}

static unsigned number_of(const struct key *key) {
    unsigned number;
    memcpy(&number, key->bytes, sizeof number);
    return number;
}

/* IPv4 and IPv6 in turn; unique to the peer. */
static struct prefix prefix_of(unsigned number, size_t which) {
    struct ip_addr addr = {.family = AF_INET6, .bytes = {0xfd, 0x77}};
    if (which % 2 == 0) {
        addr = ip_from_v4(which == 0 ? 0x0a000000u + number
                                     : 0x40000000u + ((number & 0x3fff) << 16 | (unsigned)which << 4));
        return prefix_make(&addr, which == 0 ? 32 : 28);
    }
    memcpy(addr.bytes + 4, &number, sizeof number);
    memcpy(addr.bytes + 8, &which, sizeof which);
    return prefix_make(&addr, 128);
}

static int put_peer(struct wireguard *w, const struct shape *shape, unsigned number) {
    struct prefix allowed[ALLOWED_MAX];
    union endpoint endpoint;
    struct key secret = {{1, 2, 3}};
    struct wireguard_change change = {.replace_allowed = true, .allowed = allowed};
    key_of(number, &change.public_key);
    change.allowed_count = shape->allowed_count(number);
    for (size_t i = 0; i < change.allowed_count; i++) {
        allowed[i] = prefix_of(number, i);
    }
    if (shape->extras && number % 3 == 0 &&
        endpoint_parse(number % 2 ? "192.0.2.7:51820" : "[2001:db8::7]:51820", &endpoint) == 0) {
        change.endpoint = &endpoint;
    }
    if (shape->extras && number % 5 == 0) {
        change.preshared_key = &secret;
    }
    return wireguard_put(w, &change);
}

static int by_value(const void *a, const void *b) {
    return prefix_compare(a, b);
}

static bool same_allowed(const struct shape *shape, const struct wireguard_peer *peer) {
    struct prefix wanted[ALLOWED_MAX], found[ALLOWED_MAX];
    unsigned number = number_of(&peer->public_key);
    size_t count = shape->allowed_count(number);
    if (peer->allowed_count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        wanted[i] = prefix_of(number, i);
        found[i] = peer->allowed[i];
    }
    qsort(wanted, count, sizeof *wanted, by_value);
    qsort(found, count, sizeof *found, by_value);
    for (size_t i = 0; i < count; i++) {
        if (!prefix_equal(&wanted[i], &found[i])) {
            return false;
        }
    }
    return true;
}

static int check_peer(void *context, const struct wireguard_peer *peer) {
    struct expected *e = context;
    struct key key;
    unsigned number = number_of(&peer->public_key);
    if (e->guests && number >= GUEST_FIRST) {
        return 0;
    }
    key_of(number, &key);
    if (number >= e->count || !key_equal(&key, &peer->public_key)) {
        e->wrong = "a peer nobody made";
    } else if (e->seen[number]++) {
        e->wrong = "a peer told twice";
    } else if (!same_allowed(e->shape, peer)) {
        e->wrong = "other allowed IPs than the peer was given";
    } else if (e->shape->extras && (number % 3 == 0) != (peer->endpoint.sa.sa_family != AF_UNSPEC)) {
        e->wrong = "an endpoint that should not be, or none that should";
    } else if (e->shape->extras && (number % 5 == 0) == key_is_zero(&peer->preshared_key)) {
        e->wrong = "a preshared key that should not be, or none that should";
    }
    e->seen_count++;
    return 0;
}

static void forget(void *context) {
    struct expected *e = context;
    memset(e->seen, 0, e->count);
    e->seen_count = 0;
    e->wrong = NULL; /* what is not whole may lack anything */
}

static int read_all(struct wireguard *w, struct expected *e) {
    e->seen = calloc(e->count + 1, 1);
    if (!e->seen) {
        return -ENOMEM;
    }
    forget(e);
    int error = wireguard_dump_whole(w, NULL, forget, check_peer, e);
    if (error == 0 && (e->wrong || e->seen_count != e->count)) {
        fprintf(stderr, "sweep: %u peers, read %u: %s\n", e->count, e->seen_count,
                e->wrong ? e->wrong : "some are missing");
        error = -EBADMSG;
    }
    free(e->seen);
    e->seen = NULL;
    return error;
}

static int fill(struct wireguard *w, const struct shape *shape, unsigned from, unsigned to) {
    int error = 0;
    for (unsigned number = from; number < to && error == 0; number++) {
        error = put_peer(w, shape, number);
    }
    return error ? error : wireguard_flush(w);
}

static int fill_and_check(struct wireguard *w, const struct shape *shape, unsigned counts, char **texts) {
    struct expected e = {.shape = shape};
    for (unsigned i = 0; i < counts; i++) {
        unsigned count = (unsigned)strtoul(texts[i], NULL, 10);
        int error = fill(w, shape, e.count, count);
        e.count = count;
        error = error ? error : read_all(w, &e);
        if (error) {
            fprintf(stderr, "sweep: with %u peers: %s\n", count, strerror(-error));
            return error;
        }
    }
    return 0;
}

static int print_peer(void *context, const struct wireguard_peer *peer) {
    char text[PREFIX_TEXT_SIZE], key[KEY_BASE64_SIZE];
    (void)context;
    printf("%s\t", key_to_base64(&peer->public_key, key));
    for (size_t i = 0; i < peer->allowed_count; i++) {
        printf("%s%s", i ? " " : "", prefix_format(&peer->allowed[i], text));
    }
    puts("");
    return 0;
}

/* --- while others change it --- */

static atomic_bool stop;
static atomic_ulong changes;

static void *disturb(void *interface_name) {
    struct wireguard *w = NULL;
    unsigned turn = 0;
    int error = wireguard_open(interface_name, &w);
    while (error == 0 && !atomic_load(&stop)) {
        struct wireguard_change change = {.remove = turn / GUESTS % 2 == 1};
        struct prefix allowed = prefix_of(GUEST_FIRST + turn % GUESTS, 0);
        key_of(GUEST_FIRST + turn++ % GUESTS, &change.public_key);
        if (!change.remove) {
            change.allowed = &allowed;
            change.allowed_count = 1;
        }
        error = wireguard_put(w, &change);
        error = error ? error : wireguard_flush(w);
        atomic_fetch_add(&changes, 1);
        /* now and then a pause as long as a dump takes, or no reader would ever see it whole */
        nanosleep(&(struct timespec){.tv_nsec = turn % 8 ? 1000000 : 120000000}, NULL);
    }
    wireguard_free(w);
    return error ? interface_name : NULL; /* not NULL: trouble */
}

static int churn(struct wireguard *w, char *interface_name, unsigned count, unsigned seconds) {
    struct expected e = {.shape = &shapes[0], .count = count, .guests = true};
    pthread_t other;
    void *trouble = NULL;
    unsigned whole = 0, broken = 0;
    int error = fill(w, e.shape, 0, count);
    if (error || pthread_create(&other, NULL, disturb, interface_name) != 0) {
        return error ? error : -EAGAIN;
    }
    for (time_t until = time(NULL) + (time_t)seconds; time(NULL) < until && !error;) {
        error = read_all(w, &e);
        whole += error == 0;
        if (error == -EAGAIN) { /* not whole, and says so */
            broken++;
            error = 0;
        }
    }
    atomic_store(&stop, true);
    pthread_join(other, &trouble);
    printf("%u whole, %u not, %lu changes\n", whole, broken, atomic_load(&changes));
    if (trouble || (!error && (whole == 0 || atomic_load(&changes) < 100))) {
        fprintf(stderr, "sweep: %s\n", trouble ? "disturbing failed" : "too little happened");
        error = -EBADMSG;
    }
    return error;
}

static int run(struct wireguard *w, int argc, char **argv) {
    if (strcmp(argv[1], "print") == 0) {
        return wireguard_dump(w, NULL, print_peer, NULL);
    }
    if (strcmp(argv[1], "churn") == 0 && argc == 5) {
        return churn(w, argv[2], (unsigned)strtoul(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10));
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && strcmp(argv[1], "fill") == 0 && argc > 4; i++) {
        if (strcmp(argv[3], shapes[i].name) == 0) {
            return fill_and_check(w, &shapes[i], (unsigned)(argc - 4), argv + 4);
        }
    }
    fputs("sweep: what? See the head of sweep.c\n", stderr);
    return -EINVAL;
}

int main(int argc, char **argv) {
    struct wireguard *w = NULL;
    int error = argc < 3 ? -EINVAL : link_create(argv[2], "wireguard");
    error = error == -EEXIST ? 0 : error;
    error = error ? error : wireguard_open(argv[2], &w);
    error = error ? error : run(w, argc, argv);
    wireguard_free(w);
    if (error) {
        fprintf(stderr, "sweep: %s\n", strerror(-error));
    }
    return error ? 1 : 0;
}
