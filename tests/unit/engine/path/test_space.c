/* A tenant's limits. */
#include "rig.h"

#define RATE 1000 /* packets per second; so many may come at once after silence: 200 */

/* The protocol's clock may run faster than the host's (in tests); limits are about real time from the beginning. */
static void limits_refill_by_real_time(void **state) {
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    struct worker *worker = rig.workers[0];
    worker->now_ns = worker->mono_ns * 1000;
    rig_tenant(&rig, 0, 1, ADDRESSING_UNIQUE, false, (struct limits){.packets_per_second = RATE});
    struct space *space = space_at(worker, 1);
    assert_non_null(space);
    uint64_t passed = 0;
    while (passed <= RATE && space_police(space, SPACE_RECEIVED, worker->mono_ns, 100, 1)) {
        passed++;
    }
    assert_int_equal(passed, RATE / 5);
    worker->mono_ns += NSEC_PER_SEC / 10;
    for (passed = 0; passed <= RATE && space_police(space, SPACE_RECEIVED, worker->mono_ns, 100, 1);) {
        passed++;
    }
    assert_int_equal(passed, RATE / 10);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(limits_refill_by_real_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
