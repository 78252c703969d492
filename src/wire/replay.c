#include "wire/replay.h"

#include "wire/session.h"

#define WORD_BITS 64
#define WORDS (REPLAY_BITS / WORD_BITS)

bool replay_accept(struct replay *replay, uint64_t counter) {
    /* The limit also keeps every sum below from wrapping. */
    if (counter >= SESSION_REJECT_AFTER_MESSAGES || counter + REPLAY_WINDOW + 1 < replay->greatest) {
        return false;
    }
    uint64_t word = counter / WORD_BITS;
    if (counter >= replay->greatest) {
        /* The window moves by whole words, which is why the last one is not usable: clear what it newly covers (RFC
         * 6479). */
        uint64_t head = replay->greatest ? (replay->greatest - 1) / WORD_BITS : 0;
        uint64_t fresh = word - head < WORDS ? word - head : WORDS;
        for (uint64_t i = 0; i < fresh; i++) {
            replay->bitmap[(word - i) % WORDS] = 0;
        }
        replay->greatest = counter + 1;
    }
    uint64_t bit = UINT64_C(1) << (counter % WORD_BITS);
    uint64_t *at = &replay->bitmap[word % WORDS];
    bool is_new = !(*at & bit);
    *at |= bit;
    return is_new;
}
