/* What the kernel leaves to us on packets from the TUN: each segment is the packet that a sender without offloads would
 * have sent. */
#include "flows.h"

#include <errno.h>
#include <linux/virtio_net.h>

#include "engine/packet/segment.h"

#define GSO_UDP_L4 5 /* VIRTIO_NET_HDR_GSO_UDP_L4 of newer headers */
#define LARGE 65535

static struct virtio_net_hdr large_header(const uint8_t *packet, uint16_t piece) {
    bool v6 = packet[0] >> 4 == 6;
    return (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = !flow_is_tcp(packet) ? GSO_UDP_L4
                    : v6                 ? VIRTIO_NET_HDR_GSO_TCPV6
                                         : VIRTIO_NET_HDR_GSO_TCPV4,
        .gso_size = piece,
        .csum_start = (uint16_t)flow_upper(packet),
        .csum_offset = flow_is_tcp(packet) ? 16 : 6,
    };
}

static void leave_checksum_out(uint8_t *packet, size_t size) {
    put16(flow_checksum(packet), flow_pseudo(packet, size - flow_upper(packet)));
}

static void a_missing_checksum_is_filled_in(void **state) {
    (void)state;
    struct dice dice = {.state = 1};
    for (int i = 0; i < 400; i++) {
        uint8_t payload[1400];
        uint8_t packet[PACKET_MAX];
        struct flow flow = flow_make(&dice, i % 2, i % 4 < 2);
        dice_fill(&dice, payload, sizeof payload);
        size_t size = flow_next(&flow, FLOW_ACK, payload, dice_below(&dice, sizeof payload), packet);
        leave_checksum_out(packet, size);
        struct virtio_net_hdr header = large_header(packet, 0);
        header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
        struct segments segments;
        uint8_t out[PACKET_MAX];
        assert_int_equal(segments_begin(packet, size, &header, &segments), 0);
        assert_int_equal(segments_next_size(&segments), size);
        segments_take(&segments, out);
        assert_true(flow_right(out, size));
        assert_true(flow_is_tcp(out) || get16(flow_checksum(out)) != 0);
        assert_int_equal(segments_next_size(&segments), 0);
    }
}

/* Cuts one large packet and compares with what the flow would have sent piece by piece. */
static void check_cut(struct dice *dice, bool v6, bool tcp, size_t payload_size, uint16_t piece, uint8_t flags) {
    static uint8_t payload[LARGE];
    static uint8_t packet[LARGE + 200];
    struct flow flow = flow_make(dice, v6, tcp);
    struct flow same = flow;
    dice_fill(dice, payload, payload_size);
    size_t size = flow_next(&flow, flags, payload, payload_size, packet);
    leave_checksum_out(packet, size);
    struct virtio_net_hdr header = large_header(packet, piece);
    struct segments segments;
    assert_int_equal(segments_begin(packet, size, &header, &segments), 0);
    size_t count = (payload_size + piece - 1) / piece;
    assert_int_equal(segments.count, count);
    for (size_t i = 0; i < count; i++) {
        uint8_t expected[PACKET_MAX];
        uint8_t out[PACKET_MAX];
        size_t left = payload_size - i * piece;
        uint8_t own = flags;
        own &= (uint8_t) ~(i > 0 ? FLOW_CWR : 0);
        own &= (uint8_t) ~(i + 1 < count ? FLOW_PSH | FLOW_FIN : 0);
        size_t expected_size = flow_next(&same, own, payload + i * piece, left < piece ? left : piece, expected);
        assert_int_equal(segments_next_size(&segments), expected_size);
        segments_take(&segments, out);
        assert_memory_equal(out, expected, expected_size);
    }
    assert_int_equal(segments_next_size(&segments), 0);
}

static void segments_are_what_the_sender_would_have_sent(void **state) {
    (void)state;
    struct dice dice = {.state = 2};
    for (int i = 0; i < 400; i++) {
        uint16_t piece = (uint16_t)(1 + dice_below(&dice, 1400));
        size_t payload = 1 + dice_below(&dice, dice_chance(&dice, 50) ? 60000 : 3000);
        uint8_t flags = (uint8_t)(FLOW_ACK | (dice_u32(&dice) & (FLOW_PSH | FLOW_FIN | FLOW_CWR)));
        check_cut(&dice, i % 2, i % 4 < 2, payload, piece, flags);
    }
    check_cut(&dice, false, true, 4 * 1000, 1000, FLOW_ACK | FLOW_PSH); /* no short last one */
    check_cut(&dice, true, false, 1000, 1000, 0);
}

/* A packet of 3,000 bytes payload, and a header for it, to be spoilt. */
struct spoilt {
    const char *name;
    size_t at; /* byte of the packet set to `value`, if below its size */
    uint8_t value;
    struct virtio_net_hdr header;
};

static void hints_that_do_not_fit_are_refused(void **state) {
    (void)state;
    const struct virtio_net_hdr good = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                        .gso_size = 1000,
                                        .csum_start = 20,
                                        .csum_offset = 16};
    struct spoilt cases[] = {
        {"segments of nothing", SIZE_MAX, 0, good},
        {"other family", SIZE_MAX, 0, good},
        {"UDP it is not", SIZE_MAX, 0, good},
        {"unknown kind", SIZE_MAX, 0, good},
        {"checksum beyond the end", SIZE_MAX, 0, good},
        {"checksum over the address", SIZE_MAX, 0, good},
        {"TCP header larger than the packet's", 32, 0x10, good},
        {"a fragment", 6, 0x20, good},
        {"another protocol", 9, IPPROTO_ICMP, good},
        {"a length of its own", 2, 0x01, good},
    };
    cases[0].header.gso_size = 0;
    cases[1].header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
    cases[2].header.gso_type = GSO_UDP_L4;
    cases[3].header.gso_type = 77;
    cases[4].header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    cases[4].header.csum_start = 3030;
    cases[5].header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    cases[5].header.csum_start = 2;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dice dice = {.state = 3};
        static uint8_t payload[3000];
        static uint8_t packet[4000];
        struct flow flow = flow_make(&dice, false, true);
        flow.options = false;
        size_t size = flow_next(&flow, FLOW_ACK, payload, sizeof payload, packet);
        if (cases[i].at < size) {
            packet[cases[i].at] = cases[i].value;
        }
        struct segments segments;
        if (segments_begin(packet, size, &cases[i].header, &segments) != -EINVAL) {
            fail_msg("%s", cases[i].name);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_checksum_is_filled_in),
        cmocka_unit_test(segments_are_what_the_sender_would_have_sent),
        cmocka_unit_test(hints_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
