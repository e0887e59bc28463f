// SPDX-License-Identifier: GPL-2.0
// When this node may serve: after its subscribers prepared, after the leases of
// the removed ran out, and only while its own lease runs.
#include "kernel/core/engine.hh"

namespace krg {

void Engine::serve() {
    if (!in_view() || over_ || state_ == KRG_MBR_FAILED) return;
    bool leased = now_ < lease_until_ || KRG_MUTANT(IgnoreLease);
    if (drained_ && !KRG_MUTANT(ServeAfterDrained)) return;
    switch (state_) {
    case KRG_MBR_PREPARING:
        if ((prepared_ || KRG_MUTANT(CommitBeforePrepared)) && now_ >= hold_until_ && leased) commit();
        break;
    case KRG_MBR_SERVING:
        if (leased) {
            if (KRG_MUTANT(IgnoreLease)) lease_until_ = later(lease_until_, now_ + 1);
            break;
        }
        state_ = KRG_MBR_SUSPENDED;
        stats_.suspends++;
        act(KRG_MBR_ACT_SUSPEND);
        break;
    case KRG_MBR_SUSPENDED:
        if (!leased) break;
        state_ = KRG_MBR_SERVING;
        stats_.resumes++;
        act(KRG_MBR_ACT_RESUME);
        break;
    default: break;
    }
}

void Engine::commit() {
    state_ = KRG_MBR_SERVING;
    committed_ = true;
    act(KRG_MBR_ACT_COMMIT);
    const krg_mbr_member* self = view_.find(cfg_.self);
    KRG_CHECK(self);
    if ((self->flags & KRG_MBR_F_DRAINING) && !drain_asked_) {
        drain_asked_ = true;
        act(KRG_MBR_ACT_DRAIN);
    }
}

}  // namespace krg
