// SPDX-License-Identifier: GPL-2.0
// The source's side of a handover: until the write of the root's record begins
// whatever goes wrong lets the processes go on here; from then on what is read
// there decides.
#include "proc/core/handover.hh"

namespace {

using namespace krg::handover;

enum State : u32 {
    building,
    arming,
    members,
    writing,
    reading,
    pausing_to_read,
    putting_back,
    pausing_to_put,
    thawing,
    leaving,
    telling_go,
    saying,
    pausing_to_say,
    telling_abort,
    pausing_to_abort,
    ended
};

constexpr u32 abort_tries = 3;  // a target that was not reached asks by itself

krg_source_do enter(krg_source* s, State state, krg_source_do what) {
    s->state = state;
    return what;
}

krg_source_do thaw(krg_source* s, s32 error) {
    s->error = error;
    return enter(s, thawing, KRG_SOURCE_THAW);
}

krg_source_do leave(krg_source* s, s32 error) {
    s->error = error;
    s->left = 1;
    return enter(s, leaving, KRG_SOURCE_LEAVE);
}

/** The root's record does not say that they moved, and it never will. */
krg_source_do stay(krg_source* s) {
    if (s->members && !KRG_HANDOVER_MUTANT(NoPutBack)) return enter(s, putting_back, KRG_SOURCE_PUT_BACK);
    return thaw(s, s->error);
}

krg_source_do was_built(krg_source* s, krg_source_event event, s32 error) {
    if (event != KRG_SOURCE_BUILT) return thaw(s, error);
    if (KRG_HANDOVER_MUTANT(LeaveBeforeWrite)) return leave(s, 0);
    return enter(s, arming, KRG_SOURCE_ARM);
}

krg_source_do was_armed(krg_source* s, s32 error) {
    if (error) return thaw(s, error);
    if (s->members && !KRG_HANDOVER_MUTANT(RootFirst)) return enter(s, members, KRG_SOURCE_WRITE_MEMBERS);
    return enter(s, writing, KRG_SOURCE_WRITE);
}

krg_source_do members_written(krg_source* s, s32 error) {
    if (KRG_HANDOVER_MUTANT(RootFirst)) return leave(s, 0);
    if (!error) return enter(s, writing, KRG_SOURCE_WRITE);
    s->error = error;
    return stay(s);
}

krg_source_do was_written(krg_source* s, s32 error) {
    if (!error && s->members && KRG_HANDOVER_MUTANT(RootFirst)) return enter(s, members, KRG_SOURCE_WRITE_MEMBERS);
    if (!error || KRG_HANDOVER_MUTANT(LeaveUnread)) return leave(s, 0);
    if (KRG_HANDOVER_MUTANT(ThawUnread)) return thaw(s, error);
    s->error = error;
    return enter(s, reading, KRG_SOURCE_READ);
}

krg_source_do was_read(krg_source* s, s32 error, const krg_record* record) {
    if (!error) return record->move == s->move ? leave(s, 0) : stay(s);
    if (!is_final(error)) return enter(s, pausing_to_read, KRG_SOURCE_PAUSE);
    if (KRG_HANDOVER_MUTANT(ThawUnknown)) return thaw(s, error);
    // Two of them must never run, so here it does not.
    return leave(s, error);
}

krg_source_do was_put_back(krg_source* s, s32 error) {
    if (error && !is_final(error)) return enter(s, pausing_to_put, KRG_SOURCE_PAUSE);
    return thaw(s, s->error);
}

/** Its home would not look: who died in between was neither the runner that it knows nor alive when it looked. */
krg_source_do was_said(krg_source* s, s32 error) {
    if (error && error != error::no_process && !is_final(error) && !KRG_HANDOVER_MUTANT(SaysOnce))
        return enter(s, pausing_to_say, KRG_SOURCE_PAUSE);
    return enter(s, ended, KRG_SOURCE_END);
}

krg_source_do was_aborted(krg_source* s, s32 error) {
    if (error && error != error::no_entry && ++s->tries < abort_tries) return enter(s, pausing_to_abort, KRG_SOURCE_PAUSE);
    return enter(s, ended, KRG_SOURCE_END);
}

}  // namespace

u16 krg_record_runner(const krg_record* record, const krg_record* root, u16 root_birth) {
    if (!record->root || KRG_HANDOVER_MUTANT(MemberAlone)) return record->runner;
    // It is where its root is, be it now or since. One that has ended is not judged by its root: it has a record of its own.
    if (root->generation >= record->decision && !KRG_HANDOVER_MUTANT(MemberNever)) return record->runner;
    return root->home ? root->runner : root_birth;
}

void krg_source_init(krg_source* s, u64 move, int members, int away) {
    *s = {};
    s->move = move;
    s->members = members != 0;
    s->away = away != 0;
}

krg_source_do krg_source_step(krg_source* s, krg_source_event event, s32 error, const krg_record* record) {
    switch (s->state) {
    case building: return was_built(s, event, error);
    case arming: return was_armed(s, error);
    case members: return members_written(s, error);
    case writing: return was_written(s, error);
    case reading: return was_read(s, error, record);
    case pausing_to_read: return enter(s, reading, KRG_SOURCE_READ);
    case putting_back: return was_put_back(s, error);
    case pausing_to_put: return enter(s, putting_back, KRG_SOURCE_PUT_BACK);
    case thawing:
    case pausing_to_abort: return enter(s, telling_abort, KRG_SOURCE_ABORT);
    case leaving: return enter(s, telling_go, KRG_SOURCE_GO);
    case telling_abort: return was_aborted(s, error);
    case telling_go: return s->away ? enter(s, saying, KRG_SOURCE_SAY) : enter(s, ended, KRG_SOURCE_END);
    case pausing_to_say: return enter(s, saying, KRG_SOURCE_SAY);
    case saying: return was_said(s, error);
    default: return enter(s, ended, KRG_SOURCE_END);
    }
}
