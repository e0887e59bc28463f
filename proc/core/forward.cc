// SPDX-License-Identifier: GPL-2.0
// Grants and lanes of forwarded files; see forward.h. Nothing else of files is here.
#include "proc/core/forward.h"

namespace krg::forward {
namespace {

[[nodiscard]] bool same(const krg_forward_node& a, const krg_forward_node& b) {
    return a.id == b.id && a.incarnation == b.incarnation;
}

krg_forward_verdict end(krg_forward_grant& grant) {
    grant.ended = 1;
    return KRG_FORWARD_END;
}

}  // namespace
}  // namespace krg::forward

using krg::forward::end;
using krg::forward::same;

extern "C" void krg_forward_grant_init(krg_forward_grant* grant, const krg_forward_node* owner, const krg_forward_node* maker) {
    *grant = {*owner, *maker, 0, 0};
}

extern "C" krg_forward_verdict krg_forward_grant_ask(krg_forward_grant* grant, krg_forward_wish wish,
                                                     const krg_forward_node* from) {
    if (grant->ended) return KRG_FORWARD_NO;
    if (wish == KRG_FORWARD_DROP) return !grant->claimed && same(grant->maker, *from) ? end(*grant) : KRG_FORWARD_NO;
    if (!same(grant->owner, *from)) return KRG_FORWARD_NO;
    switch (wish) {
    case KRG_FORWARD_CLAIM: grant->claimed = 1; return KRG_FORWARD_YES;
    case KRG_FORWARD_USE: return grant->claimed ? KRG_FORWARD_YES : KRG_FORWARD_NO;
    case KRG_FORWARD_CLOSE: return end(*grant);
    default: return KRG_FORWARD_NO;
    }
}

extern "C" krg_forward_verdict krg_forward_grant_view(krg_forward_grant* grant, bool owner_there, bool maker_there) {
    if (grant->ended) return KRG_FORWARD_NO;
    return owner_there && (grant->claimed || maker_there) ? KRG_FORWARD_YES : end(*grant);
}

extern "C" krg_forward_step krg_forward_lane_step(krg_forward_lane* lane, u64 number) {
    if (number == lane->done && number) return KRG_FORWARD_AGAIN;
    if (number != lane->done + 1) return KRG_FORWARD_WRONG;
    lane->done = number;
    return KRG_FORWARD_DO;
}
