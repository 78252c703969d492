#include "service/sync/force.h"

#include "service/plane/plane.h"
#include "service/record/ledger.h"
#include "service/sync/follow.h"

void force_begin(const struct force *force, const struct receipt *receipt) {
    plane_turn_redeem(force->plane, receipt);
    if (receipt->first) {
        follow_verify(force->follow);
        follow_until(force->follow, receipt->first - 1, true);
    }
    ledger_redeem(force->ledger);
    follow_advance(force->follow, &receipt->mark);
}

void force_end(const struct force *force) {
    plane_turn_end(force->plane);
}
