/* Packets of a flow put together for the host: taken apart again they are the same packets, in the same order. */
#include "flows.h"

#include <errno.h>
#include <linux/virtio_net.h>

#include "engine/packet/coalesce.h"
#include "engine/packet/segment.h"

#define FLOWS 6
#define PACKETS 200

struct stored {
    size_t size;
    uint8_t room[COALESCE_HEADROOM];
    uint8_t bytes[PACKET_MAX];
};

/* The host: takes everything apart and keeps it in order. */
struct host {
    size_t count;
    size_t large;   /* packets that came together with others */
    size_t vouched; /* packets that came alone, with a checksum for the host to make */
    bool refuses;
    struct stored packets[PACKETS];
};

static int take(void *context, const struct iovec *parts, size_t part_count, size_t packets) {
    static uint8_t whole[1 << 17];
    struct host *host = context;
    struct virtio_net_hdr header;
    struct segments segments;
    size_t size = 0;
    size_t out;
    assert_in_range(parts[0].iov_len, sizeof header, sizeof whole);
    assert_int_equal(part_count == 1, packets == 1); /* for write(2) */
    memcpy(&header, parts[0].iov_base, sizeof header);
    if (host->refuses && packets > 1) {
        return -EINVAL;
    }
    for (size_t i = 0; i < part_count; i++) {
        size_t skipped = i == 0 ? sizeof header : 0;
        memcpy(whole + size, (uint8_t *)parts[i].iov_base + skipped, parts[i].iov_len - skipped);
        size += parts[i].iov_len - skipped;
    }
    assert_in_range(size, 1, 65535);
    assert_int_equal(segments_begin(whole, size, &header, &segments), 0);
    assert_int_equal(segments.count, packets);
    host->large += packets > 1 ? packets : 0;
    host->vouched += packets == 1 && (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
    while ((out = segments_next_size(&segments)) > 0) {
        struct stored *stored = &host->packets[host->count++];
        stored->size = out;
        segments_take(&segments, stored->bytes);
    }
    return 0;
}

/* Copies of them: what is handed over is changed on its way. */
static void hand_over(const struct stored *sent, size_t count, bool tcp, bool udp, struct host *host) {
    static struct stored given[PACKETS];
    struct coalesce *coalesce;
    assert_int_equal(coalesce_create(&coalesce), 0);
    for (size_t i = 0; i < count; i++) {
        given[i].size = sent[i].size;
        memcpy(given[i].bytes, sent[i].bytes, sent[i].size);
        assert_true(coalesce_add(coalesce, given[i].bytes, given[i].size, tcp, udp));
    }
    coalesce_flush(coalesce, take, host);
    coalesce_free(coalesce);
}

/* Which flow, by its source port. Fragments are of none. */
static uint32_t flow_of(const struct stored *stored) {
    bool fragment = stored->bytes[0] >> 4 == 4 && (get16(stored->bytes + 6) & 0x3fff) != 0;
    return fragment ? 0xffff : get16(stored->bytes + flow_upper(stored->bytes));
}

/* With DF set the IPv4 ID means nothing, and the kernel numbers the pieces anew. */
static void forget_id(struct stored *stored) {
    if (stored->bytes[0] >> 4 == 4 && get16(stored->bytes + 6) == FLOW_DF) {
        put16(stored->bytes + 4, 0);
        fix_ip_sum(stored->bytes);
    }
}

static void compare(struct stored *sent, size_t count, struct host *host) {
    assert_int_equal(host->count, count);
    bool seen[PACKETS] = {false};
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < count && (seen[at] || flow_of(&host->packets[at]) != flow_of(&sent[i]))) {
            at++;
        }
        assert_in_range(at, 0, count - 1);
        seen[at] = true;
        forget_id(&sent[i]);
        forget_id(&host->packets[at]);
        assert_int_equal(host->packets[at].size, sent[i].size);
        assert_memory_equal(host->packets[at].bytes, sent[i].bytes, sent[i].size);
    }
}

/* Something that may end, break or change a flow. */
static uint8_t disturb(struct dice *dice, struct flow *flow, uint8_t *flags, size_t *size) {
    switch (dice_below(dice, 24)) {
    case 0:
        *flags |= FLOW_PSH;
        break;
    case 1:
        *flags |= FLOW_FIN;
        break;
    case 2:
        *flags |= FLOW_CWR;
        break;
    case 3:
        flow->tos ^= 3; /* congestion seen */
        break;
    case 4:
        flow->ttl--;
        break;
    case 5:
        flow->sequence += 77; /* one was lost */
        break;
    case 6:
        flow->acknowledged += 100;
        break;
    case 7:
        flow->window++;
        break;
    case 8:
        flow->id = (uint16_t)(flow->id + 5);
        break;
    case 9:
        *size = dice_below(dice, 1300);
        break;
    case 10:
        *size = 0;
        break;
    case 11:
        flow->options = !flow->options;
        break;
    case 12:
        return 1; /* a wrong checksum */
    case 13:
        return 2; /* a fragment */
    default:
        break;
    }
    return 0;
}

static size_t make_packets(struct dice *dice, struct stored sent[PACKETS]) {
    struct flow flows[FLOWS];
    for (int i = 0; i < FLOWS; i++) {
        flows[i] = flow_make(dice, i % 2, i % 3 != 0);
        flows[i].source_port = (uint16_t)(1000 + i);
    }
    size_t count = 1 + dice_below(dice, PACKETS - 1);
    struct flow *flow = &flows[0];
    for (size_t i = 0; i < count; i++) {
        static uint8_t payload[PACKET_MAX];
        uint8_t flags = FLOW_ACK;
        size_t size = 1300;
        if (dice_chance(dice, 30)) {
            flow = &flows[dice_below(dice, FLOWS)];
        }
        uint8_t spoil = disturb(dice, flow, &flags, &size);
        dice_fill(dice, payload, size);
        sent[i].size = flow_next(flow, flags, payload, size, sent[i].bytes);
        if (spoil == 1) {
            sent[i].bytes[sent[i].size - 1] ^= 0x40;
        } else if (spoil == 2 && !flow->v6) {
            put16(sent[i].bytes + 6, 0x2000);
            fix_ip_sum(sent[i].bytes);
        }
    }
    return count;
}

static size_t run(struct dice *dice, bool refuses) {
    static struct stored sent[PACKETS];
    static struct host host;
    host.count = 0;
    host.large = 0;
    host.refuses = refuses;
    size_t count = make_packets(dice, sent);
    hand_over(sent, count, true, true, &host);
    compare(sent, count, &host);
    return host.large;
}

static void taken_apart_again_they_are_the_same(void **state) {
    (void)state;
    struct dice dice = {.state = 1};
    size_t large = 0;
    for (int i = 0; i < 600; i++) {
        large += run(&dice, false);
    }
    assert_in_range(large, 10000, SIZE_MAX); /* it is worth its while */
}

static void what_the_kernel_refuses_comes_one_by_one(void **state) {
    (void)state;
    struct dice dice = {.state = 2};
    for (int i = 0; i < 50; i++) {
        assert_int_equal(run(&dice, true), 0);
    }
}

/* How many packets the host sees of ten neighbours, the sixth of which was altered. */
static size_t seen_of_ten(bool tcp, bool allowed, void (*alter)(uint8_t *packet, size_t size)) {
    static struct stored sent[10];
    static uint8_t payload[1000];
    static struct host host;
    struct dice dice = {.state = 3};
    struct flow flow = flow_make(&dice, false, tcp);
    flow.dont_fragment = false;
    flow.options = true;
    host = (struct host){.refuses = false};
    for (int i = 0; i < 10; i++) {
        sent[i].size = flow_next(&flow, FLOW_ACK, payload, sizeof payload, sent[i].bytes);
        if (i == 5 && alter) {
            alter(sent[i].bytes, sent[i].size);
        }
    }
    hand_over(sent, COUNT(sent), allowed, allowed, &host);
    assert_int_equal(host.count, 10);
    return host.large;
}

static void spoil_checksum(uint8_t *packet, size_t size) {
    packet[size - 1] ^= 1;
}

static void mark_congestion(uint8_t *packet, size_t size) {
    packet[1] |= 3;
    flow_fix(packet, size);
}

static void change_an_option(uint8_t *packet, size_t size) {
    packet[flow_header(packet) - 1] ^= 1; /* of a timestamp */
    flow_fix(packet, size);
}

static void point_at_urgent_data(uint8_t *packet, size_t size) {
    packet[flow_upper(packet) + 19] = 1;
    flow_fix(packet, size);
}

static void only_what_is_alike_goes_together(void **state) {
    (void)state;
    assert_int_equal(seen_of_ten(true, true, NULL), 10);
    assert_int_equal(seen_of_ten(false, true, NULL), 10);
    assert_int_equal(seen_of_ten(true, false, NULL), 0);
    assert_int_equal(seen_of_ten(true, true, spoil_checksum), 9);
    assert_int_equal(seen_of_ten(false, true, spoil_checksum), 9);
    assert_int_equal(seen_of_ten(true, true, mark_congestion), 9);
    assert_int_equal(seen_of_ten(true, true, change_an_option), 9);
    assert_int_equal(seen_of_ten(true, true, point_at_urgent_data), 9);
}

/* As many as there may be, of the size that full ones have: more than one packet can be. */
static void what_goes_together_is_one_packet(void **state) {
    (void)state;
    static struct stored sent[128];
    static uint8_t payload[1400];
    static struct host host;
    struct dice dice = {.state = 5};
    for (int kind = 0; kind < 4; kind++) {
        struct flow flow = flow_make(&dice, kind & 1, kind & 2);
        host = (struct host){.refuses = false};
        for (size_t i = 0; i < COUNT(sent); i++) {
            sent[i].size = flow_next(&flow, FLOW_ACK, payload, sizeof payload, sent[i].bytes);
        }
        hand_over(sent, COUNT(sent), true, true, &host);
        assert_int_equal(host.large, COUNT(sent));
        compare(sent, COUNT(sent), &host);
    }
}

/* Of two packets of each kind of flow, which do not go together: with how many the checksum is left to the host. */
static void assert_vouched(size_t expected, bool allowed, void (*alter)(uint8_t *packet, size_t size)) {
    static struct stored sent[2];
    static const uint8_t payload[77] = "odd";
    static struct host host;
    struct dice dice = {.state = 6};
    for (int kind = 0; kind < 4; kind++) {
        struct flow flow = flow_make(&dice, kind & 1, kind & 2);
        host = (struct host){.refuses = false};
        for (size_t i = 0; i < COUNT(sent); i++) {
            sent[i].size = flow_next(&flow, FLOW_ACK, payload, sizeof payload, sent[i].bytes);
            flow.ttl--;
            flow.tos ^= 4;
            if (alter) {
                alter(sent[i].bytes, sent[i].size);
            }
        }
        hand_over(sent, COUNT(sent), allowed, allowed, &host);
        compare(sent, COUNT(sent), &host);
        assert_int_equal(host.large, 0);
        assert_int_equal(host.vouched, expected);
    }
}

/* UDP of IPv4 may come without. */
static void clear_checksum(uint8_t *packet, size_t size) {
    (void)size;
    put16(flow_checksum(packet), 0);
}

/* Right, but as the kernel would not write it: 0 instead of 0xffff. */
static void make_checksum_zero(uint8_t *packet, size_t size) {
    uint8_t *even = packet + flow_header(packet) + 2;
    put16(even, 0);
    flow_fix(packet, size);
    put16(even, get16(flow_checksum(packet)));
    put16(flow_checksum(packet), 0);
    assert_true(flow_right(packet, size));
}

static void end_a_connection(uint8_t *packet, size_t size) {
    packet[flow_upper(packet) + 13] |= flow_is_tcp(packet) ? FLOW_FIN : 0;
    flow_fix(packet, size);
}

static void a_checksum_that_is_right_is_left_to_the_host(void **state) {
    (void)state;
    assert_vouched(2, true, NULL);
    assert_vouched(2, false, NULL);
    assert_vouched(2, true, end_a_connection);
    assert_vouched(0, true, spoil_checksum);
    assert_vouched(0, true, clear_checksum);
    assert_vouched(0, true, make_checksum_zero);
}

static int count_them(void *context, const struct iovec *parts, size_t part_count, size_t packets) {
    (void)parts;
    (void)part_count;
    *(size_t *)context += packets;
    return 0;
}

static void full_says_so_and_is_usable_again(void **state) {
    (void)state;
    static struct stored sent;
    struct dice dice = {.state = 4};
    struct flow flow = flow_make(&dice, true, false);
    struct coalesce *coalesce;
    sent.size = flow_next(&flow, 0, (const uint8_t *)"x", 1, sent.bytes);
    assert_int_equal(coalesce_create(&coalesce), 0);
    size_t added = 0;
    while (added < 100000 && coalesce_add(coalesce, sent.bytes, sent.size, false, false)) {
        added++;
    }
    assert_in_range(added, 64, 4096);
    size_t handed_over = 0;
    coalesce_flush(coalesce, count_them, &handed_over);
    assert_int_equal(handed_over, added);
    assert_true(coalesce_add(coalesce, sent.bytes, sent.size, false, false));
    coalesce_flush(coalesce, count_them, &handed_over);
    coalesce_flush(coalesce, count_them, &handed_over);
    assert_int_equal(handed_over, added + 1);
    coalesce_free(coalesce);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_apart_again_they_are_the_same),
        cmocka_unit_test(what_the_kernel_refuses_comes_one_by_one),
        cmocka_unit_test(only_what_is_alike_goes_together),
        cmocka_unit_test(what_goes_together_is_one_packet),
        cmocka_unit_test(a_checksum_that_is_right_is_left_to_the_host),
        cmocka_unit_test(full_says_so_and_is_usable_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
