/* Each implementation against vectors and against the others, in place and apart, one packet and many. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>

#include "wire/aead.h"
#include "wire/message.h"

#define TAG MESSAGE_TAG_SIZE
#define MOST 65535
#define FENCE 32 /* bytes after a buffer that nobody may touch */

static const struct aead_ops *const candidates[] = {
    &aead_sodium,
#ifdef HAVE_IPSEC_MB
    &aead_ipsec_mb,
#endif
};
#define CANDIDATES (sizeof candidates / sizeof *candidates)

static struct aead *contexts[CANDIDATES];

static int open_all(void **state) {
    (void)state;
    for (size_t i = 0; i < CANDIDATES; i++) {
        if (candidates[i]->supported()) {
            assert_int_equal(candidates[i]->create(&contexts[i]), 0);
        }
    }
    return 0;
}

static int free_all(void **state) {
    (void)state;
    for (size_t i = 0; i < CANDIDATES; i++) {
        if (contexts[i]) {
            candidates[i]->free(contexts[i]);
        }
        candidates[i]->free(NULL);
    }
    return 0;
}

static uint8_t *fenced(size_t size) {
    uint8_t *bytes = malloc(size + FENCE);
    assert_non_null(bytes);
    memset(bytes + size, 0x5a, FENCE);
    return bytes;
}

static void assert_fence(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < FENCE; i++) {
        assert_int_equal(bytes[size + i], 0x5a);
    }
}

static void fill_pattern(uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 7 + size);
    }
}

static void tags_equal_the_vectors(void **state) {
    (void)state;
    struct key key = key_of(aead_vector_key);
    for (size_t c = 0; c < CANDIDATES; c++) {
        for (size_t i = 0; contexts[c] && i < sizeof aead_vectors / sizeof *aead_vectors; i++) {
            size_t size = aead_vectors[i].size;
            uint8_t *bytes = fenced(size + TAG);
            uint8_t *again = fenced(size);
            fill_pattern(bytes, size);
            fill_pattern(again, size);
            struct aead_job job = {
                .key = &key, .counter = aead_vectors[i].counter, .from = bytes, .to = bytes, .size = size};
            candidates[c]->seal(contexts[c], &job, 1);
            assert_memory_equal(bytes + size, aead_vectors[i].tag, TAG);
            assert_fence(bytes, size + TAG);
            candidates[c]->open(contexts[c], &job, 1);
            assert_true(job.ok);
            assert_memory_equal(bytes, again, size);
            assert_fence(bytes, size + TAG);
            free(bytes);
            free(again);
        }
    }
}

static void transport_packets_equal_the_vectors(void **state) {
    (void)state;
    for (size_t c = 0; c < CANDIDATES; c++) {
        for (size_t i = 0; contexts[c] && i < VECTORS; i++) {
            const struct handshake_vector *v = &handshake_vectors[i];
            struct key to_responder = key_of(v->to_responder), to_initiator = key_of(v->to_initiator);
            uint8_t inner[32] = {0}, packets[3][32 + TAG];
            memcpy(inner, v->inner, sizeof v->inner);
            struct aead_job jobs[] = {
                {.key = &to_responder, .counter = 0, .from = inner, .to = packets[0], .size = 0},
                {.key = &to_responder, .counter = 1, .from = inner, .to = packets[1], .size = sizeof inner},
                {.key = &to_initiator,
                 .counter = v->large_counter,
                 .from = inner,
                 .to = packets[2],
                 .size = sizeof inner},
            };
            candidates[c]->seal(contexts[c], jobs, 3);
            assert_memory_equal(packets[0], v->keepalive + sizeof(struct message_data), TAG);
            assert_memory_equal(packets[1], v->data + sizeof(struct message_data), sizeof inner + TAG);
            assert_memory_equal(packets[2], v->answer + sizeof(struct message_data), sizeof inner + TAG);
        }
    }
}

/* What `sealer` seals, `opener` opens; `apart` uses other buffers for the result. */
static void round_trip(size_t sealer, size_t opener, size_t size, bool apart, uint64_t *stream) {
    struct key key;
    stream_fill(stream, key.bytes, sizeof key.bytes);
    uint8_t *plain = fenced(size), *sealed = fenced(size + TAG), *opened = fenced(size + (apart ? 0 : TAG));
    stream_fill(stream, plain, size);
    struct aead_job job = {.key = &key, .counter = stream_next(stream), .from = plain, .to = sealed, .size = size};
    if (!apart) {
        memcpy(sealed, plain, size);
        job.from = sealed;
    }
    candidates[sealer]->seal(contexts[sealer], &job, 1);
    assert_fence(sealed, size + TAG);
    job.from = sealed;
    job.to = opened;
    if (!apart) {
        memcpy(opened, sealed, size + TAG);
        job.from = opened;
    }
    candidates[opener]->open(contexts[opener], &job, 1);
    assert_true(job.ok);
    assert_memory_equal(opened, plain, size);
    assert_fence(opened, size + (apart ? 0 : TAG));
    /* the other implementation makes the same bytes */
    uint8_t *other = fenced(size + TAG);
    struct aead_job same = {.key = &key, .counter = job.counter, .from = plain, .to = other, .size = size};
    candidates[opener]->seal(contexts[opener], &same, 1);
    assert_memory_equal(other, sealed, size + TAG);
    free(plain);
    free(sealed);
    free(opened);
    free(other);
}

static void implementations_agree_for_every_size(void **state) {
    (void)state;
    uint64_t stream = 7;
    for (size_t sealer = 0; sealer < CANDIDATES; sealer++) {
        for (size_t opener = 0; opener < CANDIDATES; opener++) {
            if (!contexts[sealer] || !contexts[opener]) {
                continue;
            }
            for (size_t size = 0; size <= 2000; size++) {
                round_trip(sealer, opener, size, size % 2, &stream);
            }
            round_trip(sealer, opener, MOST, true, &stream);
            round_trip(sealer, opener, MOST, false, &stream);
        }
    }
}

static void batches_of_mixed_keys_and_sizes_agree(void **state) {
    (void)state;
    enum { MANY = 300, LARGEST = 1500 };
    uint64_t stream = 11;
    struct key keys[MANY];
    uint8_t(*plain)[LARGEST] = calloc(MANY, sizeof *plain);
    uint8_t(*sealed)[LARGEST + TAG] = calloc(MANY, sizeof *sealed);
    uint8_t(*expected)[LARGEST + TAG] = calloc(MANY, sizeof *expected);
    struct aead_job jobs[MANY], single;
    for (size_t c = 0; c < CANDIDATES; c++) {
        static const size_t counts[] = {0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129, MANY};
        for (size_t n = 0; contexts[c] && n < sizeof counts / sizeof *counts; n++) {
            for (size_t i = 0; i < counts[n]; i++) {
                stream_fill(&stream, keys[i].bytes, KEY_SIZE);
                size_t size = stream_next(&stream) % 4 ? stream_next(&stream) % (LARGEST + 1) : 0;
                stream_fill(&stream, plain[i], size);
                jobs[i] = (struct aead_job){&keys[i], stream_next(&stream), plain[i], sealed[i], size, false};
                single = jobs[i];
                single.to = expected[i];
                aead_sodium.seal(NULL, &single, 1);
            }
            candidates[c]->seal(contexts[c], jobs, counts[n]);
            for (size_t i = 0; i < counts[n]; i++) {
                assert_memory_equal(sealed[i], expected[i], jobs[i].size + TAG);
                jobs[i].from = sealed[i];
                jobs[i].to = sealed[i];
                if (i % 5 == 3) { /* some are forged, and must not spoil their neighbours */
                    sealed[i][stream_next(&stream) % (jobs[i].size + TAG)] ^= 0x10;
                }
            }
            candidates[c]->open(contexts[c], jobs, counts[n]);
            for (size_t i = 0; i < counts[n]; i++) {
                assert_int_equal(jobs[i].ok, i % 5 != 3);
                if (jobs[i].ok) {
                    assert_memory_equal(sealed[i], plain[i], jobs[i].size);
                }
            }
        }
    }
    free(plain);
    free(sealed);
    free(expected);
}

static void every_bit_of_a_packet_matters(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct key key = key_of(v->to_responder);
    const size_t header = sizeof(struct message_data);
    for (size_t c = 0; c < CANDIDATES; c++) {
        for (size_t bit = 8 * offsetof(struct message_data, counter); contexts[c] && bit < 8 * sizeof v->data; bit++) {
            uint8_t bytes[sizeof v->data], plain[sizeof v->data];
            memcpy(bytes, v->data, sizeof bytes);
            bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
            struct aead_job job = {.key = &key,
                                   .counter = le64_get(bytes + offsetof(struct message_data, counter)),
                                   .from = bytes + header,
                                   .to = plain,
                                   .size = sizeof bytes - header - TAG,
                                   .ok = true};
            candidates[c]->open(contexts[c], &job, 1);
            assert_false(job.ok);
            /* nothing of it is left to be used by mistake */
            assert_memory_not_equal(plain, v->inner, sizeof v->inner);
        }
    }
}

static void truncated_packets_are_refused(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct key key = key_of(v->to_responder);
    const size_t header = sizeof(struct message_data);
    for (size_t c = 0; c < CANDIDATES; c++) {
        for (size_t size = header + TAG; contexts[c] && size < sizeof v->data; size++) {
            uint8_t plain[sizeof v->data];
            struct aead_job job = {&key, 1, v->data + header, plain, size - header - TAG, true};
            candidates[c]->open(contexts[c], &job, 1);
            assert_false(job.ok);
        }
    }
}

static void choice_is_by_name_or_the_fastest(void **state) {
    (void)state;
    assert_ptr_equal(aead_choose("sodium"), &aead_sodium);
    assert_null(aead_choose("rot13"));
    assert_null(aead_choose(""));
    assert_ptr_equal(aead_choose(NULL), aead_choose("auto"));
#ifdef HAVE_IPSEC_MB
    bool fast = aead_ipsec_mb.supported();
    assert_ptr_equal(aead_choose("auto"), fast ? &aead_ipsec_mb : &aead_sodium);
    assert_ptr_equal(aead_choose("ipsec-mb"), fast ? &aead_ipsec_mb : NULL);
#else
    assert_ptr_equal(aead_choose("auto"), &aead_sodium);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_equal_the_vectors),
        cmocka_unit_test(transport_packets_equal_the_vectors),
        cmocka_unit_test(implementations_agree_for_every_size),
        cmocka_unit_test(batches_of_mixed_keys_and_sizes_agree),
        cmocka_unit_test(every_bit_of_a_packet_matters),
        cmocka_unit_test(truncated_packets_are_refused),
        cmocka_unit_test(choice_is_by_name_or_the_fastest),
    };
    return cmocka_run_group_tests(tests, open_all, free_all);
}
